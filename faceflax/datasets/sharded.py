"""A tfds builder that writes shard by shard, so that a killed build goes on where it was."""

import os
import shutil
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from faceflax.files import atomic_path
from faceflax.progress import progress_bar


class ShardedBuilder(FileReaderBuilder):
    """Base of builders whose examples take long to make.

    A shard appears whole or not at all, in a folder that outlives the process; at the end all of them become an
    ordinary prepared tfds dataset. Examples are stored in the order of the plan.
    """

    @abstractmethod
    def plan(self) -> Mapping[str, Sequence[Sequence[Any]]]:
        """Returns, for each split, its shards, each a list of items. It must be the same at every call."""

    @abstractmethod
    def example(self, item: Any) -> dict[str, Any] | None:
        """Returns the example of an item of the plan; None when it has none."""

    def _download_and_prepare(self, dl_manager: tfds.download.DownloadManager, download_config: Any = None) -> None:
        plan = self.plan()
        todo = {
            self._finished(split, index): items
            for split, shards in plan.items()
            for index, items in enumerate(shards)
            if not self._finished(split, index).exists()
        }
        with progress_bar() as progress:
            task = progress.add_task(self.name, total=sum(map(len, todo.values())))
            for path, items in todo.items():
                self._write(path, items, lambda: progress.advance(task))
        infos = [self._collect(split, len(shards)) for split, shards in plan.items()]
        self.info.set_splits(tfds.core.SplitDict([info for info in infos if info.num_examples]))

    def _post_download_and_prepare_hook(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        return Path(self.data_dir).parent / f"{self.version}.shards"

    def _finished(self, split: str, index: int) -> Path:
        return self._folder / f"{split}-{index:05d}.array_record"

    def _write(self, path: Path, items: Sequence[Any], advance: Any) -> None:
        with atomic_path(path) as temporary:
            writer = ArrayRecordWriter(str(temporary), "group_size:1")
            for item in items:
                example = self.example(item)
                if example is not None:
                    writer.write(self.info.features.serialize_example(self.info.features.encode_example(example)))
                advance()
            writer.close()

    def _collect(self, split: str, count: int) -> tfds.core.SplitInfo:
        """Links the finished shards of a split that hold examples into the dataset's folder under tfds's names."""
        shards = {path: _num_records(path) for path in (self._finished(split, index) for index in range(count))}
        shards = {path: length for path, length in shards.items() if length}
        template = self._get_filename_template(split_name=split)
        for index, path in enumerate(shards):
            _link(path, Path(template.sharded_filepath(shard_index=index, num_shards=len(shards))))
        return tfds.core.SplitInfo(
            name=split,
            shard_lengths=list(shards.values()),
            num_bytes=sum(path.stat().st_size for path in shards),
            filename_template=template,
        )


def _num_records(path: Path) -> int:
    reader = ArrayRecordReader(str(path))
    try:
        return reader.num_records()
    finally:
        reader.close()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # the file system has no hard links
        shutil.copyfile(source, target)
