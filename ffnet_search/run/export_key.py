"""One more network of a finished search as files: of a key that the front lacks, or copied out of the run."""

from __future__ import annotations

import shutil
from pathlib import Path

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.export.exported import ExportedNetwork, read_exported, read_network
from ffnet_search.export.formats.registry import formats_of
from ffnet_search.progress import say
from ffnet_search.run.check import check_classes
from ffnet_search.run.folder.run_folder import open_run
from ffnet_search.run.interrupt import import_whole
from ffnet_search.run.shared_time import as_trained
from ffnet_search.run.stages import STAGES


def export_key(sweep: Sweep, key: str, folder: Path | None = None) -> ExportedNetwork:
    """Export the network `key` of a run beside its front, or into `folder`, which must be new or empty.

    It is retrained where the sweep says so, and later exports of the front keep it. One that is exported already is
    copied, or left as it is. Raises SweepError for an unknown key, and where `folder` holds something."""
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SweepError(f"{folder}: must be new or empty, but holds something; give another folder with --export")
    known = {network.key: network for network in read_exported(sweep.files.pareto)}
    if key in known:
        if folder is None:
            say(f"export: {key} is exported already")
            return known[key]
        shutil.copytree(known[key].folder, folder, dirs_exist_ok=True)
        return read_network(folder)
    if folder is not None and folder.resolve() == Path.cwd():
        raise SweepError(f"{folder}: must not be the working folder, which is replaced; give a folder in it")
    check_classes(sweep, ["export"])
    with open_run(sweep):
        sweep = as_trained(sweep)
        import_whole(*STAGES["export"].packages)
        from ffnet_search.export.formats.write import export_format
        from ffnet_search.export.front import export_network
        from ffnet_search.export.yardstick.measure import write_gains
        from ffnet_search.report.page import write_report

        if folder is not None:
            folder.parent.mkdir(parents=True, exist_ok=True)
        network = export_network(sweep, key, folder)
        if folder is None:
            for name in formats_of(sweep):
                export_format(sweep, name, key=key)
            write_gains(sweep)
            write_report(sweep)
    return network
