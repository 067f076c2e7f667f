"""The command that is running."""

from gss.core.invocation import command_line, invoked


def test_absolute_paths_are_shortened_to_their_names():
    assert command_line() == ""
    words = ["evaluate", "/home/me/runs/prior", "--json=/tmp/r.json", "--data", "~/photos", "a=/x/a,b=/y/b", "runs/c"]
    with invoked([*words, "s3://bucket/x", "0.75,1", "two words"]):
        assert command_line() == (
            "gss evaluate prior --json=r.json --data photos a=a,b=b runs/c s3://bucket/x 0.75,1 'two words'"
        )
    assert command_line() == ""
