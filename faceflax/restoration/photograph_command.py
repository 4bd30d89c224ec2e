"""What `faceflax restore` does with whole photographs and videos."""

import argparse
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faceflax.preprocessing import acquire, console
from faceflax.preprocessing.images import SUFFIXES
from faceflax.preprocessing.inputs import Job, plan
from faceflax.progress import progress_bar
from faceflax.restoration import film, photographs, restorers, results, subjects, video
from faceflax.restoration.photographs import Options
from faceflax.restoration.restorers import Restorer
from faceflax.restoration.subjects import Locate

NO_HOLE = "no hole, which is any colour but black, in the mask of"


def run(arguments: argparse.Namespace, out: Path) -> int:
    """Restores what the arguments name, photographs before videos; returns 0, or 1 when some could not be.

    Raises `UserError` when nothing can be restored at all: no model, no detector.
    """
    options = Options(arguments.only_center_face, arguments.upscale, arguments.compare)
    jobs, films, failures, refused = _plan(arguments, out, options)
    with ThreadPoolExecutor(1) as pool:  # the detectors are read while the model is
        locator = pool.submit(subjects.load_locator)
        restorer = restorers.load(arguments.model, arguments.fidelity, arguments.batch_size)
        if arguments.mirror:
            restorer = restorers.average_mirrored(restorer)
        locate = locator.result()
    told: list[str] = []

    def fail(failure: str) -> None:
        told.append(failure)
        console.report(failure)

    for failure in (*failures, *refused):
        fail(failure)
    written, faces = _restore_photographs(jobs, restorer, locate, arguments.batch_size, options, fail)
    where = console.printable(str(out))
    if jobs or failures:
        count = console.counted(len(jobs) + len(failures), "photograph")
        print(f"restored {console.counted(faces, 'face')} in {written} of {count} into {where}")
    done = f"{written} of {console.counted(len(jobs), 'photograph')} and " if jobs else ""
    if films:
        locate = subjects.load_locator(is_thorough=False)  # of every frame, whose small faces few look at
    made = _restore_videos(films, restorer, locate, arguments.batch_size, options, done, fail)
    if refused or len(films) > 1:
        print(f"restored {made} of {console.counted(len(films) + len(refused), 'video')} into {where}")
    return 1 if told else 0


def _plan(
    arguments: argparse.Namespace, out: Path, options: Options
) -> tuple[list[Job], list[Job], list[str], list[str]]:
    """The photographs and the videos to restore, and a sentence for each photograph and each video that cannot be."""
    masks = Path(arguments.mask) if arguments.mask else None
    planned, failures = plan([Path(name) for name in arguments.inputs], out, masks, SUFFIXES + acquire.VIDEO_SUFFIXES)
    videos = [job for job in planned if acquire.is_video(job.source)]
    refused = []
    if masks or options.is_compared:
        refused = [_no_photograph(job, "--mask" if masks else "--compare") for job in videos]
        videos = []
    jobs, clashes = _keep_names_apart([job for job in planned if not acquire.is_video(job.source)], options)
    films, more = _plan_videos(videos, jobs)
    return jobs, films, failures + clashes, refused + more


def _restore_photographs(
    jobs: Sequence[Job],
    restorer: Restorer,
    locate: Locate,
    batch_size: int,
    options: Options,
    on_failure: Callable[[str], None],
) -> tuple[int, int]:
    whole: list[None] = []
    with progress_bar() as progress:
        bar = progress.add_task("restoring", total=len(jobs))
        counts = photographs.restore_files(
            jobs,
            restorer,
            locate,
            batch_size=batch_size,
            options=options,
            on_failure=on_failure,
            advance=lambda: progress.advance(bar),
            on_whole=lambda: whole.append(None),
        )
    if whole:
        print(f"found {NO_HOLE} {console.counted(len(whole), 'photograph')}, of which nothing was changed")
    return counts


def _restore_videos(
    films: Sequence[Job],
    restorer: Restorer,
    locate: Locate,
    batch_size: int,
    options: Options,
    done: str,
    on_failure: Callable[[str], None],
) -> int:
    """Restores the videos one after the other; returns how many could be. `done` is what an interrupt says first."""
    made = 0
    try:
        for job in films:
            made += _restore_video(job, restorer, locate, batch_size, options, on_failure)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"{done}{made} of {console.counted(len(films), 'video')} are done") from error
    return made


def _restore_video(
    job: Job,
    restorer: Restorer,
    locate: Locate,
    batch_size: int,
    options: Options,
    on_failure: Callable[[str], None],
) -> int:
    """Restores one video; returns 1, or 0 where it could not be."""
    with progress_bar() as progress, console.reported(on_failure), console.told_of(str(job.source)):
        bar = progress.add_task(job.source.name, total=None)
        frames, faces = video.restore_file(
            job.source,
            job.output,
            restorer,
            locate,
            batch_size=batch_size,
            options=options,
            advance=lambda: progress.advance(bar),
        )
        into = console.printable(str(job.output))
        print(f"restored {console.counted(faces, 'face')} through {console.counted(frames, 'frame')} into {into}")
        return 1
    return 0


def _no_photograph(job: Job, option: str) -> str:
    return f"{job.source}: {option} is for photographs, and this is a video; restore it apart"


def _plan_videos(videos: Sequence[Job], jobs: Sequence[Job]) -> tuple[list[Job], list[str]]:
    """The videos to restore under names of their own suffix, and a sentence for each that cannot be."""
    read = {os.path.realpath(job.source) for job in (*videos, *jobs)}
    written = {path for job in jobs for path in (job.output, results.report_path(job.output))}
    films, failures = [], []
    for video_job in videos:
        source = video_job.source
        output = video_job.output.with_suffix(film.output_suffix(source))
        report = results.report_path(output)
        if os.path.realpath(output) in read:
            failures.append(f"{source}: its result would overwrite {output}; choose another --out")
        elif {output, report} & written:
            failures.append(f"{source}: {output} or {report} is another file's result; rename one or run it apart")
        else:
            written |= {output, report}
            films.append(Job(source, output, None))
    return films, failures


def _keep_names_apart(jobs: list[Job], options: Options) -> tuple[list[Job], list[str]]:
    """The jobs whose further files, as the report, take no other file's name, and a sentence for each of the others."""
    taken = {os.path.realpath(path) for job in jobs for path in (job.source, job.mask, job.output) if path}
    kept, failures = [], []
    for job in jobs:
        further = [results.report_path(job.output)]
        further += [results.comparison_path(job.output)] if options.is_compared else []
        clash = next((path for path in further if os.path.realpath(path) in taken), None)
        if clash is None:
            kept.append(job)
        else:
            failures.append(f"{job.source}: {clash}, which goes with its result, is another file's name; rename one")
    return kept, failures
