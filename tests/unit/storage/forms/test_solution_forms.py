"""Solutions that earlier releases kept are read, and written in today's form."""

from pathlib import Path

from residua.storage.forms.solution_file import read_solution, write_solution
from residua.storage.forms.solution_parts import to_parts

FIRST = Path(__file__).parent / "data" / "first_form.residua"


def test_a_solution_of_the_first_form_is_read_and_written_in_todays():
    kept = FIRST.read_bytes()
    first = read_solution(kept)
    assert b'"form":1' in kept
    written = write_solution(first)
    assert b'"form":3' in written
    assert len(written) < 0.95 * len(kept)
    assert write_solution(read_solution(written)) == written
    found = to_parts(read_solution(written))[1]
    for name, array in to_parts(first)[1].items():
        assert array.dtype == found[name].dtype, name
        assert array.tobytes() == found[name].tobytes(), name
