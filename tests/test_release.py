"""What a release is made of agrees with the package: recipe, containers, workflow, notes."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from release import check, floors, notes
from streamspread.cli import main

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(lines):
    """Names and least versions, as conda and pip write them."""
    return {re.match(r"[\w-]+", line)[0]: re.sub(r"^[\w-]+\s*", "", line) for line in lines}


def test_the_conda_recipe_needs_what_the_package_needs():
    recipe = (ROOT / "release" / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    run = requirements(re.findall(r"- (.*)", recipe.split("  run:\n")[1].split("\ntests:")[0]))
    assert run.pop("python") == PROJECT["requires-python"]
    run["torch"] = run.pop("pytorch")
    assert run == requirements(PROJECT["dependencies"])
    assert f"- streamspread = {PROJECT['scripts']['streamspread']}" in recipe


def test_every_requirement_has_a_floor_and_no_package_two():
    found = floors.of_project()
    assert {"torch", "numpy", "timm", "datasets", "pytest"} <= set(found)
    assert "streamspread" not in found
    assert floors.floors(["a>=1.0.3", "b-c>=2", "a>=1.0.3", "it[x]"], "it") == {"a": "1.0.3", "b-c": "2"}


@pytest.mark.parametrize(
    ("requirements", "said"),
    [
        (["a"], "must be NAME>=RELEASE, got 'a'"),
        (["a==1"], "must be NAME>=RELEASE, got 'a==1'"),
        (["a>=1,<2"], "must be NAME>=RELEASE, got 'a>=1,<2'"),
        (["other[x]>=1"], "must be NAME>=RELEASE, got"),
        (["a>=1", "b>=1", "a>=2"], "a has two floors: 1 and 2"),
    ],
)
def test_a_requirement_without_one_floor_is_refused(requirements, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        floors.floors(requirements, "it")


def test_containers_take_extras_that_there_are_and_run_the_command():
    text = (ROOT / "release" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    extras = re.findall(r"\.whl\)\[(.*?)\]", text)
    assert len(extras) == 2
    for each in extras:
        assert set(each.split(",")) <= set(PROJECT["optional-dependencies"])
    assert text.count('ENTRYPOINT ["streamspread"]') == text.count("USER 10001") == 2
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    for folder in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        assert all(f"!{name}\n" in kept for name in folder.split())


def test_only_the_step_that_publishes_may_ask_for_an_identity():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    jobs = re.split(r"^  (\w+):$", text.split("\njobs:\n")[1], flags=re.MULTILINE)
    bodies = dict(zip(jobs[1::2], jobs[2::2], strict=True))
    assert [name for name, body in bodies.items() if "id-token: write" in body] == ["publish"]
    assert "permissions: {}" in text
    assert "password" not in text


def test_what_is_missing_or_strange_in_a_distribution_is_told(tmp_path):
    assert check.missing(["a/b.txt", "c"], ("a/", "c", "d")) == ["d"]
    for path in check.IN_WHEEL[:-1]:  # what the wheel must have is there
        assert (ROOT / path).exists()
    for path in check.IN_SOURCE:
        assert (ROOT / path).exists()


@pytest.mark.parametrize("words", check.TRIALS[1:], ids=" ".join)
def test_the_trials_are_commands(words, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([words[0], "--help"]) == 0
    flags = [word for word in words if word.startswith("--")]
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in flags), shlex.join(words)


CHANGES = (
    "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2027-01-01\n\n### Added\n\n- A.\n\n## [0.1.0]\n\n- B.\n"
)


def test_notes_are_a_version_s_section():
    assert notes.notes("0.2.0", CHANGES) == "### Added\n\n- A."
    assert notes.notes("0.1.0", CHANGES) == "- B."


@pytest.mark.parametrize("version", ["Unreleased", "0.3.0", "0.1"])
def test_a_version_without_notes_is_refused(version):
    with pytest.raises(ValueError, match=f"the changelog has nothing about version {re.escape(version)}$"):
        notes.notes(version, CHANGES)
