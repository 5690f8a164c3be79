"""What a kernel issues takes less time than its memory, whatever the storage."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("cupy")
sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "gpu"))

import sass

pytestmark = [pytest.mark.slow, pytest.mark.cuda_text]


@pytest.fixture(scope="module")
def rows():
    return {(name, how): row for name, how, row in sass.table("sm_90")}


def test_every_storage_of_every_rule_is_bound_by_memory(rows):
    slow = {
        key: row
        for key, row in rows.items()
        if row["issue"] >= 1 or row["integer pipe"] >= 1
    }
    assert not slow
    assert len(rows) == 4 * len(sass.OPTIMIZERS)


def test_adam_in_bfloat16_at_random_leaves_room(rows):
    row = rows["adam", "bfloat16, all at random"]
    assert row["issue"] <= 0.9
    assert row["integer pipe"] <= 0.7
    assert row["registers"] <= 64


def test_a_slow_case_is_a_call_and_does_not_count():
    listing = """
        /*0000*/                   IADD3 R1, R2, R3, R4 ;
        /*0010*/              @P0 BRA `(.L_x_1) ;
        /*0020*/                   MOV R5, R6 ;
        /*0030*/                   CALL.REL.NOINC `(slow) ;
        /*0040*/                   MOV R7, R8 ;
.L_x_1:
        /*0050*/                   STG.E.128 [R2.64], R4 ;
        /*0060*/                   EXIT ;
        /*0070*/                   MUFU.RSQ R0, R1 ;
"""
    assert sass.hot_path(listing) == ["IADD3", "BRA", "STG.E.128", "EXIT"]
