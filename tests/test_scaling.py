"""The scaling study over devices: what is counted, kept, fitted and predicted."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from faceflax.errors import UserError
from faceflax.scaling import cells, fitting, hardware, layouts, measuring, prediction, report, settings, tables, traffic
from faceflax.scaling.traffic import Traffic
from tests import tiny
from tests.cells import make_cell


def with_seconds(cell, seconds):
    return dataclasses.replace(cell, seconds=(seconds,) * 3)


def test_bytes_sent_in_rings():
    program = """HloModule jit_step, is_scheduled=true, num_partitions=8
      %a = f32[10,4]{1,0} all-gather(%p), replica_groups={{0,1,2,3,4},{5,6,7,8,9}}, dimensions={0}
      %s = (bf16[4,2]{1,0}, bf16[8,2]{1,0}) all-gather-start(%p), replica_groups=[4,2]<=[8], dimensions={0}
      %d = bf16[8,2]{1,0} all-gather-done(%s)
      %r = (f32[3]{0}, s8[4]{0}) all-reduce(%x, %y), replica_groups={}, to_apply=%add
      %t = f32[16]{0} reduce-scatter(%x), replica_groups=[2,4]<=[8], to_apply=%add
      %q = (f32[1,64,32]{2,1,0}, f32[1,64,32]{2,1,0}, u32[], u32[]) collective-permute-start(%z), source_target_pairs={}
      %u = pred[7]{0} collective-permute(%z), source_target_pairs={{0,1},{1,0}}
      %v = (u32[], u32[]) collective-permute-start(%z), source_target_pairs={{0,1},{1,0}}
      %n = f32[100]{0} fusion(%all-gather.1), kind=kLoop
    """
    assert traffic.count(program) == {
        "all-gather": Traffic(2, 160 * 4 / 5 + 32 / 2),
        "all-reduce": Traffic(1, 16 * 2 * 7 / 8),
        "reduce-scatter": Traffic(1, 64 * 3),
        "collective-permute": Traffic(3, 64 * 32 * 4 + 7 + 4),
    }


@pytest.fixture
def study():
    return settings.create(tiny.config())


def test_places_are_those_that_divide(study):
    study.counts, study.layouts, study.strong_batch = (4, 1, 2, 3), ("fsdp", "spatial"), 8
    found = measuring.places(study)
    assert [place.name for place in found] == [
        *("strong-data-1", "strong-fsdp-2", "strong-fsdp-4", "strong-spatial-2", "strong-spatial-4"),
        *("weak-data-1", "weak-fsdp-2", "weak-fsdp-3", "weak-fsdp-4", "weak-spatial-2", "weak-spatial-4"),
    ]
    assert {place.batch for place in found if place.mode == "strong"} == {8}
    assert [place.batch for place in found if place.mode == "weak"][:4] == [8, 16, 24, 32]


def test_meshes_of_two_axes_are_of_so_many_devices(study):
    study.counts, study.layouts = (1, 4, 8), ("4x2", "2x4", "2x2")
    named = {f"{place.layout} on {place.devices}": place.shards for place in measuring.places(study)}
    assert named == {"data on 1": 1, "2x2 on 4": 2, "4x2 on 8": 2, "2x4 on 8": 4}
    settings.validate(study)
    assert layouts.mesh("4x2", 8) == {"data": 4, "fsdp": 2, "spatial": 1}
    assert not any(map(layouts.is_known, ("8x1", "0x4", "2x2x2", "4 x 2", "rows")))


def test_images_split_by_rows_are_measured_within_one_process(study, monkeypatch):
    study.counts, study.layouts, study.strong_batch = (1, 4, 8), ("data", "spatial"), 8

    def here(processes, local):
        monkeypatch.setattr(jax, "process_count", lambda: processes)
        monkeypatch.setattr(jax, "local_device_count", lambda: local)
        monkeypatch.setattr(jax, "device_count", lambda: processes * local)
        found = filter(measuring._is_here, measuring.places(study))
        return [f"{place.layout}-{place.devices}" for place in found if place.mode == "strong"]

    assert here(1, 8) == ["data-1", "data-4", "data-8", "spatial-4", "spatial-8"]
    assert here(1, 4) == ["data-1", "data-4", "spatial-4"]
    assert here(2, 4) == ["data-8"]


def test_a_step_that_both_modes_have_is_measured_once(study, tmp_path, monkeypatch):
    study.counts, study.layouts, study.strong_batch, study.weak_batch = (1, 2), ("data", "fsdp"), 16, 8
    seen = []

    def measure(settings, place, flops):
        seen.append(place.name)
        return make_cell(place.devices, layout=place.layout, batch=place.batch, kind="cpu")

    monkeypatch.setattr(measuring, "model_flops", lambda config: 1e9)
    monkeypatch.setattr(measuring, "_is_here", lambda place: True)
    monkeypatch.setattr(measuring, "_measure", measure)
    found = measuring.measure(study, tmp_path, lambda line: None)
    assert seen == ["strong-data-1", "strong-data-2", "strong-fsdp-2", "weak-data-1"]
    assert [cell.place for cell in found] == measuring.places(study)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("counts", (), "config.counts"),
        ("layouts", ("rows",), 'config.layouts has "rows"'),
        ("rounds", 0, "config.rounds is 0"),
        ("pods.share_of_peak", 1.5, "shares"),
        ("weak_batch", 16, "two different ones"),
        ("laws.widths", (8, 16), "2 size"),
        ("laws.widths", (8, 8, 16), "2 size"),
        ("laws.seeds", (0,), "1 seed"),
    ],
)
def test_a_study_that_cannot_be_made(study, field, value, said):
    study.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=said):
        settings.validate(study)


def test_a_cell_is_kept_until_what_it_was_made_from_changes(tmp_path):
    cell = make_cell(8, layout="fsdp", kind="NVIDIA H200")
    cells.write(tmp_path, cell, {"step": "a", "cores": 2})

    def read(made_from, kind="NVIDIA H200", **fields):
        return cells.read(tmp_path, kind, dataclasses.replace(cell.place, **fields), made_from)

    assert read({"step": "a", "cores": 2}) == cell == read({"step": "a"})
    assert read({"step": "b"}) is read({"step": "a", "cores": 4}) is read({"step": "a"}, batch=64) is None
    assert read({"step": "a"}, devices=4) is read({"step": "a"}, kind="TPU v4") is None


def test_a_folder_holds_the_cells_of_every_kind_of_device(study, tmp_path, monkeypatch):
    study.counts, study.layouts = (1,), ("data",)

    def measure(kind, seconds):
        monkeypatch.setattr(jax.devices()[0].__class__, "device_kind", kind, raising=False)
        monkeypatch.setattr(measuring, "model_flops", lambda config: 1e9)
        monkeypatch.setattr(
            measuring,
            "_measure",
            lambda study, place, flops: make_cell(1, kind=kind, mode=place.mode, batch=place.batch),
        )
        said = []
        return measuring.measure(study, tmp_path, said.append), said

    assert [len(found) for found in measure("cpu", 1.0)] == [2, 2]
    assert [len(found) for found in measure("cpu", 1.0)] == [2, 0]
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    found, said = measure("TPU v5p", 0.1)
    assert said == ["measuring strong-data-1 on TPU v5p", "measuring weak-data-1 on TPU v5p"]
    assert {kind: len(each) for kind, each in cells.by_kind(found).items()} == {"TPU v5p": 2, "cpu": 2}
    study.experiment.train.duration = "7steps"
    study.experiment.seed = 3
    assert not measure("TPU v5p", 0.1)[1]
    study.experiment.model.width = 24
    found, said = measure("TPU v5p", 0.1)
    assert len(found) == 2 and len(said) == 3
    assert said[-1] == "left out: 2 cell(s) of other flags, another version of JAX or another CPU"


def test_the_fit_finds_the_numbers_that_made_the_seconds():
    launch, per_flop, per_byte, per_message = 2e-3, 1 / 300e12, 1 / 80e9, 4e-6

    def timed(cell):
        share = cell.flops / cell.place.devices
        return with_seconds(cell, launch + share * per_flop + cell.sent_bytes * per_byte + cell.messages * per_message)

    measured = [
        timed(make_cell(count, mode=mode, traffic={"all-gather": Traffic(7 * count, (count - 1) * size)}))
        for mode in ("strong", "weak")
        for count, size in ((1, 1), (2, 5_000_000), (4, 2_000_000), (8, 6_000_000))
    ]
    found = fitting.seconds(measured)
    numbers = (found.launch, found.per_flop, found.per_byte, found.per_message)
    np.testing.assert_allclose(numbers, (launch, per_flop, per_byte, per_message), rtol=1e-3)
    assert found.error < 1e-6 and found.held_out < 1e-3
    by_rows = [make_cell(count, layout="spatial", seconds=(99.0,)) for count in (4, 16)]
    assert fitting.seconds(measured + by_rows) == found
    assert fitting.seconds(by_rows) is None


def test_simulated_devices_share_their_work():
    measured = [make_cell(n, kind="cpu", mode=mode, traffic={}) for n in (1, 2, 4) for mode in ("weak", "strong")]
    measured = [with_seconds(cell, 0.125 * cell.place.batch) for cell in measured]
    found = fitting.seconds(measured)
    assert math.isclose(found.per_flop * 2e12, 0.125, rel_tol=1e-6)
    assert found.held_out < 1e-6 and not found.knows_talk
    assert fitting.seconds(measured[:1]) is None
    assert tables.efficiency(make_cell(2, kind="cpu", seconds=(0.2,)), [make_cell(1, kind="cpu", seconds=(0.1,))]) == 1


def test_efficiency_and_mfu():
    alone, eight = make_cell(1, seconds=(0.1,)), make_cell(8, seconds=(0.125,))
    slower = make_cell(1, kind="cpu", seconds=(9.0,))
    assert math.isclose(tables.efficiency(eight, [slower, alone, eight]), 0.8)
    assert math.isnan(tables.efficiency(make_cell(8, kind="NVIDIA H200"), [alone, eight]))
    assert math.isclose(prediction.mfu(eight), 8 * 4 * 1.5e12 / (0.125 * 8 * 459e12))
    h200 = make_cell(1, kind="NVIDIA H200")
    in_float32 = dataclasses.replace(h200, dtype="float32")
    assert math.isclose(prediction.mfu(in_float32) / prediction.mfu(h200), 989 / 494)
    assert math.isnan(prediction.mfu(make_cell(1, kind="abacus")))


def test_the_networks_own_operations_leave_out_the_damage_and_what_is_computed_again(study):
    study.experiment.tasks = ("blind 2",)
    plain = measuring.model_flops(study.experiment)
    study.experiment.tasks, study.experiment.model.remat = ("noise 50",), True
    assert measuring.model_flops(study.experiment) == plain > 0


def test_what_grows_with_the_images_is_told_from_what_does_not():
    whole, split, per_image = 1e8, 4e8, 2e7

    def cell(devices, layout, mode):
        made = make_cell(devices, layout=layout, mode=mode)
        shards = made.place.shards
        return dataclasses.replace(made, accelerator_bytes=whole + split / shards + per_image * made.images_per_device)

    measured = [cell(1, "data", "weak"), cell(1, "data", "strong")]
    found = fitting.count(measured, lambda each: each.accelerator_bytes)
    np.testing.assert_allclose(found[:3], (0, whole + split, per_image), rtol=1e-6)
    assert math.isclose(found.at(1, 64), whole + split + 64 * per_image)
    measured += [cell(n, "fsdp", mode) for n in (2, 4) for mode in ("weak", "strong")]
    found = fitting.count(measured, lambda each: each.accelerator_bytes)
    np.testing.assert_allclose(found[:3], (whole, split, per_image), rtol=1e-6)
    assert math.isclose(found.at(8, 64), whole + split / 8 + 64 * per_image)
    one_axis = fitting.count([*measured, cell(8, "fsdp", "weak")], lambda each: each.accelerator_bytes)
    measured += [cell(8, "4x2", "weak"), cell(8, "2x4", "weak")]
    two_axes = fitting.count(measured, lambda each: each.accelerator_bytes)
    assert one_axis[:3] == pytest.approx(two_axes[:3])
    measured.append(make_cell(8, layout="spatial", accelerator_bytes=9e12))
    assert fitting.count(measured, lambda each: each.accelerator_bytes) == two_axes


def _predicted(study, measured, pod, mode="weak", layout="data"):
    (found,) = [p for p in prediction.predict(study, measured) if (p.pod, p.mode, p.layout) == (pod, mode, layout)]
    return found


def _alone(kind, **fields):
    """One device with 4 and with 32 images: 1 GB to begin with and 0.5 GB an image is moved."""
    moved = {"weak": 3e9, "strong": 17e9}
    return [make_cell(1, kind=kind, mode=mode, moved_bytes=moved[mode], **fields) for mode in moved]


def test_a_step_predicted_from_the_data_sheet_by_hand(study):
    study.pods.weak_batch, study.pods.share_of_peak = 10, 0.5
    pair = make_cell(2, kind="cpu", moved_bytes=3e9, traffic={"all-reduce": Traffic(3, 4e6)})
    measured = [*_alone("cpu"), pair]
    step = _predicted(study, measured, "H100 x 16")
    assert (step.batch, step.work_from, step.talk_from) == (160, "data sheet", "data sheet")
    assert math.isnan(step.unseen_error)
    assert math.isclose(step.work, 10 * 2e12 / (0.5 * 989e12))
    assert math.isclose(step.memory_traffic, (1e9 + 10 * 0.5e9) / 3.35e12)
    ring = 2 * 4e6 * 7 / 8 / 450e9 + 2 * 4e6 / 8 / 2 / 50e9  # within nodes of 8, and between the two
    assert math.isclose(step.talk, ring + 3 * 4 * 10e-6)
    assert math.isclose(step.seconds, max(step.work, step.memory_traffic) + step.talk)
    assert _predicted(study, measured, "H100 x 1").talk == 0
    assert {each.layout for each in prediction.predict(study, measured)} == {"data"}
    sharded = dataclasses.replace(pair, place=dataclasses.replace(pair.place, layout="fsdp"))
    sharded = dataclasses.replace(sharded, traffic={"all-reduce": Traffic(3, 8e6)})  # four rings of half of 4e6
    found = _predicted(study, [*measured, sharded], "H100 x 16", layout="fsdp")
    assert math.isclose(found.talk, 2 * ring + 3 * 4 * 10e-6)
    assert math.isclose(_predicted(study, _alone("cpu"), "H100 x 16").talk, ring)  # nothing measured: an all-reduce
    in_float32 = [dataclasses.replace(cell, dtype="float32") for cell in measured]
    assert math.isclose(_predicted(study, in_float32, "H100 x 16").work / step.work, 989 / 494)


def test_a_step_predicted_from_the_fit_of_its_own_kind(study):
    launch, per_flop, per_byte, per_message = 2e-3, 1 / 300e12, 1 / 80e9, 4e-6

    def timed(cell):
        share = cell.flops / cell.place.devices
        return with_seconds(cell, launch + share * per_flop + cell.sent_bytes * per_byte + cell.messages * per_message)

    kind, images = "TPU v5p", study.pods.weak_batch
    alone = [timed(cell) for cell in _alone(kind)]
    step = _predicted(study, [*_alone("cpu", seconds=(77.0,)), *alone], "v5p-8")
    assert (step.work_from, step.talk_from, step.devices) == ("fit", "data sheet", 4)  # two cores a device
    assert math.isclose(step.work, launch + images * 2e12 * per_flop, rel_tol=1e-6)
    several = [
        timed(make_cell(count, kind=kind, mode=mode, traffic={"all-reduce": Traffic(count, 8e6 * (count - 1) / count)}))
        for count in (2, 4, 8)
        for mode in ("weak", "strong")
    ]
    step = _predicted(study, [*alone, *several], "v5p-1024")
    assert (step.work_from, step.talk_from) == ("fit", "fit") and step.unseen_error < 1e-6
    talk = 2 * 4e6 * 511 / 512 * per_byte + 8 * per_message
    assert math.isclose(step.talk, talk, rel_tol=1e-4)
    assert math.isclose(step.seconds, launch + images * 2e12 * per_flop + talk, rel_tol=1e-4)


def test_batches_too_large_or_uneven_are_told(study):
    study.pods.strong_batch = 64
    small, large = _alone("cpu")
    sizes = [dataclasses.replace(small, accelerator_bytes=8e9), dataclasses.replace(large, accelerator_bytes=50e9)]
    found = prediction.predict(study, sizes)
    strong = {each.pod: each for each in found if each.mode == "strong"}
    assert "H100 x 64" in strong and "H100 x 128" not in strong
    assert not strong["H100 x 1"].fits and strong["H100 x 2"].fits
    assert math.isclose(strong["H100 x 2"].peak_bytes, 50e9)


def test_a_report_needs_one_device():
    report.check(_alone("cpu"))
    for too_few in ([], _alone("cpu")[:1], [make_cell(8), make_cell(8, mode="strong")]):
        with pytest.raises(UserError, match="put 1 into config.counts"):
            report.check(too_few)


def test_chips_are_known_by_the_names_that_jax_has_for_them():
    known = {"TPU v4": 275, "TPU v5 lite": 197, "TPU v5": 459, "TPU v6 lite": 918}
    known |= {"NVIDIA A100-SXM4-80GB": 312, "NVIDIA H100 80GB HBM3": 989, "NVIDIA H200": 989}
    assert {kind: hardware.peak(kind, "bfloat16") / 1e12 for kind in known} == known
    assert hardware.peak("cpu", "float32") is None


def test_pods_are_named_by_their_devices():
    tpu, gpu = hardware.ACCELERATORS
    assert set(tpu.pods) >= {"v5p-8", "v5p-1024"} and tpu.pods["v5p-1024"] == 512
    assert list(gpu.pods.values())[-1] == 256
