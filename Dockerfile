# ffnet-search on CPUs. Build: docker build -t ffnet-search .
# Run in a folder with images: docker run --rm -it --shm-size 1g -v "$PWD:/work" ffnet-search init --data flowers
FROM python:3.12-slim

# PyTorch from the index of its builds for CPUs: the default ones bring 6.5 GB of CUDA.
ARG INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml README.md LICENSE hatch_build.py constraints.txt ./
COPY ffnet_search ffnet_search
COPY sweeps sweeps
COPY search_spaces search_spaces
RUN python -m pip install --no-cache-dir --extra-index-url "$INDEX" --constraint constraints.txt . && rm -rf /src

# Results belong to the user of the folder: docker run --user "$(id -u):$(id -g)" ...
RUN useradd --create-home --uid 1000 searcher
USER searcher
WORKDIR /work
ENTRYPOINT ["ffnet-search"]
CMD ["--help"]
