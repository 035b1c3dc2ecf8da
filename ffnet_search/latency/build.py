"""Build a latency table: measure the plan with a journal, measure again where times spread, fit, and check."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ffnet_search.config.inputs import digest
from ffnet_search.config.schema import LatencySection
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.latency.bench import Bench, LocalBench, MakeBench
from ffnet_search.latency.jobs import Job, groups, network_job
from ffnet_search.latency.journal import Journal
from ffnet_search.latency.measure import PASSES, UNCERTAIN, refuse_shared_cores, torch_aside
from ffnet_search.latency.network_model import NetworkModel, Sample, by_kind, kind_of
from ffnet_search.latency.part_model import fit_overhead, interpolate
from ffnet_search.latency.plan import COPIES, TOLERANCE, Plan
from ffnet_search.latency.table import Check, Entry, LatencyTable, Ms, Setting, TableError
from ffnet_search.latency.timing import SHARED_RATIO, Rounds
from ffnet_search.progress import progress, say
from ffnet_search.provenance import installed_versions, now
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.parts import Part
from ffnet_search.space.search_space import SearchSpace

REPEATS = 0.15  # share of all rounds for repeats; as much again, up to MOST_REPEATS, while the limit is missed
MAX_REPEATS = 0.5
MIN_SHARE = 0.1  # of a part's time that is left after the overhead of the call


def profile(
    space: SearchSpace, section: LatencySection, path: Path, *, seed: int = 0, make_bench: MakeBench = LocalBench
) -> LatencyTable:
    """Measure the table of `space` and save it at `path`. An interrupted profile resumes from its journal; the files of
    the networks, which are tens of megabytes, are made again.

    Raises SweepError if the backend is not available, or if other programs use the cores and the clock includes them
    (unless `section.noisy`)."""
    plan = Plan(space, section, seed)
    with scratch_folder() as models, torch_aside():
        bench = make_bench(section, plan.networks[0].input, Path(models))
        journal = Journal(path.with_name(f"{path.name}.journal"), _digest(space, section, seed, bench))
        builder = TableBuilder(plan, section, bench, journal, path, seed)
        builder.measure_plan()
        table = builder.measure_uncertain()
    if table.setting.contention > SHARED_RATIO:
        say(f"other programs used the cores meanwhile (wall / CPU time {table.setting.contention:.1f})")
    table.save(path)
    journal.path.unlink(missing_ok=True)
    return table


@dataclass(frozen=True)
class TableBuilder:
    """Measures the jobs of a plan on a bench into a journal, and fits the table of `path` to them."""

    plan: Plan
    section: LatencySection
    bench: Bench
    journal: Journal
    path: Path
    seed: int

    def measure_plan(self) -> None:
        """Measure the jobs that the journal lacks."""
        section, jobs = self.section, self.plan.jobs
        missing = [job for job in jobs if self.journal.count(job.id) < job.rounds(section)]
        name = f"profile {section.backend} (threads {section.threads}, batch {section.batch_size})"
        with progress(name, len(jobs), "measurements", len(jobs) - len(missing)) as bar:
            for group in groups(missing):
                self._measure(group)
                bar.advance(len(group))
        if self.journal.contention is None:  # a kill came before that of the only group
            self._measure_contention()

    def measure_uncertain(self) -> LatencyTable:
        """Measure the least certain jobs again, and fit. They are chosen by their own spread, never by their error."""
        planned = sum(job.rounds(self.section) for job in self.plan.jobs)
        allowed = REPEATS
        while True:
            spent = self.journal.total_rounds / planned - 1
            uncertain = self.uncertain_jobs()
            if uncertain and spent < allowed:
                if not spent:
                    say(f"profile: measuring {len(uncertain)} of the networks and parts again, whose times spread")
                affordable = int((allowed - spent) * len(self.plan.jobs))
                for group in groups(uncertain[: max(1, affordable)]):
                    self._measure(group)
                continue
            table = self.fit()
            is_accurate = table.error.within_10 >= self.section.min_within_10
            if is_accurate or not uncertain or allowed >= MAX_REPEATS:
                return table
            allowed += REPEATS

    def _measure(self, group: Sequence[Job]) -> None:
        """Measure all rounds of each job again, or the missing ones."""
        journal, section = self.journal, self.section
        rounds = [job.rounds(section) - journal.count(job.id) % job.rounds(section) for job in group]
        since = time.perf_counter()
        for timed in self.bench.time(group, rounds, self.seed):
            now = time.perf_counter()
            journal.add({group[index].id: ratio for index, ratio in timed.ratios}, timed.anchors_s, now - since)
            since = now
        self._measure_contention()

    def _measure_contention(self) -> None:
        """Measure how busy the cores are. Raises SweepError where they are so as a rule, and the clock includes it."""
        self.journal.add_contention(self.bench.contention())
        refuse_shared_cores(self.path, self.section, self.bench, self._contention)

    @property
    def _contention(self) -> float:
        """Median wall / CPU time of busy threads."""
        contention = self.journal.contention
        assert contention is not None  # it is measured after each group
        return contention

    def uncertain_jobs(self) -> list[Job]:
        """Jobs to measure again, worst first: a network in another pass, a part in more rounds."""
        candidates: list[tuple[float, Job]] = []
        for arch in self.plan.networks:
            passes = self._passes(arch)
            last = network_job(arch, len(passes) - 1)
            is_whole = self.journal.count(last.id) % last.rounds(self.section) == 0
            job = network_job(arch, len(passes)) if is_whole else last
            candidates.append((Rounds.of_medians(passes).uncertainty, job))
        candidates.extend((self.journal.rounds(job.id).uncertainty, job) for job in self.plan.part_jobs)
        candidates.sort(key=lambda candidate: -candidate[0])
        return [job for uncertainty, job in candidates if uncertainty > UNCERTAIN]

    def _passes(self, arch: Architecture) -> list[Rounds]:
        passes: list[Rounds] = []
        while self.journal.count(name := network_job(arch, len(passes)).id):
            passes.append(self.journal.rounds(name))
        return passes

    def fit(self) -> LatencyTable:
        """Fit the table to the journal, and check it on the held-out networks."""
        plan = self.plan
        if plan.is_exact:
            return self.exact()
        measured, alone_ms = self.fit_parts()
        samples = []
        for arch in plan.networks[: plan.fitted]:
            ms = self._ms(network_job(arch, 0), Rounds.joined(self._passes(arch)))
            samples.append(Sample(by_kind(arch.parts, alone_ms), arch.params_m, ms))
        model = NetworkModel.fit(samples)
        checks = [self._check(arch, model, alone_ms) for arch in plan.networks]
        spreads = {part: self.journal.rounds(job.id).spread for part, job in (plan.singles | plan.chains).items()}
        entries = {
            part.key: Entry(
                ms=model.slope_of(kind_of(part)) * alone_ms[part],
                raw_ms=alone_ms[part],
                spread=spreads.get(part, 0.0),
                measured=part in measured,
            )
            for part in plan.parts
        }
        return LatencyTable(
            setting=self._setting(),
            error=TableError.of(checks[plan.fitted :]),
            intercept_ms=model.intercept_ms,
            spill_ms_per_m=model.spill_ms_per_m,
            resident_m=model.resident_m,
            entries=entries,
            calibration=tuple(checks[: plan.fitted]),
            held_out=tuple(checks[plan.fitted :]),
        )

    def exact(self) -> LatencyTable:
        """The table of a few networks: the time of each over the even passes, checked on that over the odd ones."""
        checks = tuple(self._measured_again(arch) for arch in self.plan.networks)
        error = TableError.of(checks, repeated=True)
        return LatencyTable(
            setting=self._setting(), error=error, intercept_ms=0.0, entries={}, calibration=(), held_out=checks
        )

    def _measured_again(self, arch: Architecture) -> Check:
        job, passes = network_job(arch, 0), self._passes(arch)
        even, odd = (self._ms(job, Rounds.joined(half)) for half in (passes[::2], passes[1::2]))
        spread = Rounds.joined(passes).spread
        return Check(architecture=arch, predicted_ms=even, measured_ms=odd, halves_ms=(even, odd), spread=spread)

    def fit_parts(self) -> tuple[dict[Part, Ms], dict[Part, Ms]]:
        """Return milliseconds of the measured parts, without the overhead of the call, and of all parts."""
        plan = self.plan
        alone = {part: self._ms(job, self.journal.rounds(job.id)) for part, job in plan.alone.items()}
        jobs = plan.singles | plan.chains
        times = {part: self._ms(job, self.journal.rounds(job.id)) for part, job in jobs.items()}
        overhead = fit_overhead(alone, times, COPIES)
        measured: dict[Part, Ms] = {}
        for part, ms in times.items():
            copies = COPIES if part in plan.chains else 1
            measured[part] = max(ms - overhead(part), MIN_SHARE * ms) / copies
        return measured, interpolate(measured, plan.parts)

    def _check(self, arch: Architecture, model: NetworkModel, alone_ms: Mapping[Part, Ms]) -> Check:
        job, passes = network_job(arch, 0), self._passes(arch)
        rounds, even, odd = Rounds.joined(passes), Rounds.joined(passes[::2]), Rounds.joined(passes[1::2])
        return Check(
            architecture=arch,
            predicted_ms=model(by_kind(arch.parts, alone_ms), arch.params_m),
            measured_ms=self._ms(job, rounds),
            halves_ms=(self._ms(job, even), self._ms(job, odd)),
            spread=rounds.spread,
        )

    def _ms(self, job: Job, rounds: Rounds) -> Ms:
        return rounds.median * job.unit_ms(self.plan.networks[0].input, self.journal.anchors_ms)

    def _setting(self) -> Setting:
        identity, section = self.bench.identity, self.section
        return Setting(
            device=identity.device,
            backend=section.backend,
            settings=identity.settings,
            threads=section.threads,
            batch_size=section.batch_size,
            dtype=section.precision,
            versions={**installed_versions("ffnet-search", "torch"), **identity.versions},
            date=now("seconds"),
            clock=identity.clock,
            rounds=section.rounds,
            contention=self._contention,
            anchors_ms=self.journal.anchors_ms,
            build_seconds=self.journal.seconds,
        )


def _digest(space: SearchSpace, section: LatencySection, seed: int, bench: Bench) -> str:
    """A digest of everything that measurements depend on: a journal with another digest is not resumed."""
    inputs = [
        space.model_dump(mode="json", exclude={"name"}),
        section.model_dump(mode="json", exclude={"noisy", "min_within_10", "name"}),
        seed,
        asdict(bench.identity),
        installed_versions("torch"),
        [COPIES, TOLERANCE, PASSES],
    ]
    return digest(inputs)
