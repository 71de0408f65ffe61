# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_fsad.models.d24fad.nearest import SPACES, farthest_rows, levels_of, nearest_patches
from anomalib_fsad.models.d24fad.patch_bank import bank_of, left_out
from anomalib_fsad.models.d24fad.views import view_places, views


@pytest.fixture
def chance():
    return torch.Generator().manual_seed(0)


def test_nearest_is_what_all_distances_say(chance):
    query, bank = torch.rand(2, 5, 3, 4, generator=chance), torch.rand(30, 5, generator=chance)
    distance, row = nearest_patches(query, bank)
    all_distances = 0.5 * torch.cdist(query.permute(0, 2, 3, 1).reshape(-1, 5), bank).square()
    torch.testing.assert_close(distance.flatten(), all_distances.amin(1), atol=1e-6, rtol=1e-5)
    assert torch.equal(row.flatten(), all_distances.argmin(1))


def test_small_distances_do_not_cancel():
    a = torch.nn.functional.normalize(torch.ones(1, 64), dim=1)
    b = torch.nn.functional.normalize(torch.ones(1, 64) + 1e-4 * torch.arange(64), dim=1)
    exact = 0.5 * (a.double() - b.double()).square().sum().item()
    query = a.view(1, 64, 1, 1)
    assert nearest_patches(query, b).distance.item() == pytest.approx(exact, rel=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert nearest_patches(query, b).distance.item() == pytest.approx(exact, rel=1e-3)


def test_more_patches_are_never_farther(chance):
    query, bank = torch.rand(2, 5, 4, 4, generator=chance), torch.rand(40, 5, generator=chance)
    few, more = (nearest_patches(query, bank[:count]).distance for count in (10, 40))
    assert (more <= few).all()


def test_a_coreset_covers_better_than_the_first_rows(chance):
    patches = torch.rand(200, 3, generator=chance)
    kept = farthest_rows(patches, 20)
    assert len(set(kept.tolist())) == 20
    assert torch.cdist(patches, patches[kept]).amin(1).max() < torch.cdist(patches, patches[:20]).amin(1).max()


def test_a_coreset_of_copies_takes_each_row_once():
    assert len(farthest_rows(torch.ones(6, 3), 4).unique()) == 4


def test_a_bank_is_bounded_and_knows_where_its_patches_are_from(chance):
    maps = torch.rand(3, 6, 5, 8, 8, generator=chance)
    level = bank_of([maps], (64, 64), calibrate=False, maximum=100).levels[0]
    assert level.patches.shape == (100, 5)
    everything = bank_of([maps], (64, 64), calibrate=False).levels[0]
    assert len(everything.patches) == 3 * 6 * 64
    own = everything.owners == 1
    plain = everything.patches[own][:64].T.view(5, 8, 8)  # its first view, in the order of the places
    torch.testing.assert_close(plain, maps[1, 0])
    row, column = everything.places[own][8 * 2 + 5].tolist()
    assert (row, column) == pytest.approx((2.5 / 8, 5.5 / 8))


def test_calibrated_supports_are_one_apart(chance):
    levels = [torch.rand(4, 2, 5, 8, 8, generator=chance), 7 * torch.rand(4, 2, 9, 4, 4, generator=chance)]
    bank = bank_of(levels, (64, 64), calibrate=True)
    for found, level in zip(left_out([maps[:, 0] for maps in levels], bank), bank.levels, strict=True):
        assert (found.distance / level.usual).mean().item() == pytest.approx(1, abs=1e-5)


def test_left_out_never_meets_itself(chance):
    maps = torch.rand(3, 6, 5, 4, 4, generator=chance)
    bank = bank_of([maps], (32, 32), calibrate=False)
    (found,) = left_out([maps[:, 0]], bank)
    owners = bank.levels[0].owners[found.row]
    assert all((owners[support] != support).all() for support in range(3))
    assert nearest_patches(maps[:, 0], bank.levels[0].patches).distance.max() == 0


def test_a_single_support_has_no_scale(chance):
    bank = bank_of([torch.rand(1, 6, 5, 4, 4, generator=chance)], (32, 32), calibrate=True)
    assert bank.levels[0].usual.item() == 1


def test_places_of_a_view_show_what_the_view_shows():
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = (row + 100 * column)[None, None]
    for view, place in zip(views(image)[0, :, 0], view_places((64, 64), (64, 64)), strict=True):
        expected = (place[..., 0] * 64 - 0.5) + 100 * (place[..., 1] * 64 - 0.5)
        torch.testing.assert_close(view[16:48, 16:48], expected[16:48, 16:48], atol=0.1, rtol=0)


@pytest.mark.parametrize("space", SPACES)
def test_a_space_has_its_levels(space, chance):
    teacher = [torch.rand(2, 6, size, size, generator=chance) for size in (16, 8, 4, 2)]
    student = [torch.rand(2, 6, size, size, generator=chance) for size in (16, 8, 4)]
    assert [maps.shape[-1] for maps in levels_of(teacher, student, [space], torch.ones(1))] == [8, 8, 4, 2][
        : SPACES[space]
    ]


def test_a_perfect_student_leaves_no_residual(chance):
    maps = [torch.rand(2, 6, size, size, generator=chance) for size in (16, 8, 4, 2)]
    assert all(level.abs().max() == 0 for level in levels_of(maps, maps[:3], ["residual"], torch.ones(1)))
