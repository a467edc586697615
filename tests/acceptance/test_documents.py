"""``caravan run --documents`` as a person uses it."""

import json
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import MODELS, caravan
from tests.made_documents import docx_of, encrypted, pdf_of
from tests.repo.docs.pages import DOCS, ROOT, blocks

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    (inbox / "deep").mkdir(parents=True)
    (inbox / "a.md").write_text("---\ntitle: Snow\n---\nIt fell all night.")
    (inbox / "deep" / "b.pdf").write_bytes(pdf_of(["Page one.", "Page two."]))
    (inbox / "c.docx").write_bytes(docx_of("Letter", ["Dear all."]))
    (inbox / "locked.pdf").write_bytes(encrypted(pdf_of(["Secret."])))
    (inbox / "scan.pdf").write_bytes(pdf_of([""]))
    (tmp_path / "sum.j2").write_text("Sum up {{ document.name }}:\n{{ document.text }}")
    return inbox


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_document_is_answered_and_unreadable_ones_are_told(
    environment: Environment, hosts: Hosts, inbox: Path, tmp_path: Path
) -> None:
    command = [
        "run",
        "--documents",
        f"{inbox}/**",
        "--template",
        str(tmp_path / "sum.j2"),
        "--model",
        MODELS[0],
    ]
    command += ["--host", hosts[0].url, "-o", str(tmp_path / "out.jsonl")]

    done = caravan(*command, env=environment, check=False)
    asked = int(hosts[0].state()["requests"])
    again = caravan(*command, env=environment, check=False)

    assert done.returncode == again.returncode == 3, done.stderr  # two could not be read
    lines = read(tmp_path / "out.jsonl")
    assert [line["custom_id"] for line in lines] == ["a.md", "c.docx", "deep/b.pdf"]
    assert all(line["answer"] for line in lines)
    assert lines[2]["metadata"]["pages"] == 2  # type: ignore[index]
    assert lines[0]["metadata"]["title"] == "Snow"  # type: ignore[index]
    rejects = read(tmp_path / "out.rejects.jsonl")
    assert {(Path(str(line["path"])).name, line["code"]) for line in rejects} == {
        ("locked.pdf", "encrypted"),
        ("scan.pdf", "no_text"),
    }
    assert int(hosts[0].state()["requests"]) == asked == 3


def test_prompts_are_shown_without_asking_anybody(
    environment: Environment, hosts: Hosts, inbox: Path, tmp_path: Path
) -> None:
    done = caravan(
        *["run", "--documents", f"{inbox}/**", "--template", str(tmp_path / "sum.j2"), "--model", MODELS[0]],
        *["--show", "2"],
        env=environment,
    )

    assert done.stdout.startswith("── a.md\nSum up a.md:\nIt fell all night.")
    assert done.stdout.count("── ") == 2


def test_showing_prompts_says_which_documents_would_be_left_out(
    environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "kept", "n": 1}\n{"text": "lost", "n": NaN}\n')
    done = caravan(
        *[
            "run",
            "--documents",
            str(tmp_path / "rows.jsonl"),
            "--prompt",
            "{{ document.text }}",
            "--model",
            MODELS[0],
        ],
        *["--show", "9"],
        env=environment,
    )

    assert done.stdout.count("── ") == 1
    assert "rows.jsonl#2" in done.stderr


def test_a_long_document_is_asked_in_parts_and_has_one_answer(
    environment: Environment, hosts: Hosts, inbox: Path, tmp_path: Path
) -> None:
    (inbox / "long.txt").write_text("\n\n".join(f"Paragraph {n} says this and that." * 5 for n in range(150)))
    (tmp_path / "all.j2").write_text(
        "Join:{% for part in parts %}\n{{ part.number }}: {{ part.answer }}{% endfor %}"
    )
    command = ["run", "--documents", f"{inbox}/*.txt", "--documents", f"{inbox}/*.md"]
    command += ["--template", str(tmp_path / "sum.j2"), "--model", MODELS[0], "--set", "num_ctx=4096"]
    command += ["--set", "num_predict=64", "--host", hosts[0].url, "-o", str(tmp_path / "out.jsonl")]

    refused = caravan(*command, env=environment, check=False)
    caravan(*command, "--new", "--long", "split", "--combine", str(tmp_path / "all.j2"), env=environment)

    assert "too_large" in refused.stderr
    lines = read(tmp_path / "out.jsonl")
    assert [line["custom_id"] for line in lines] == ["a.md", "long.txt"]
    assert all(line["state"] == "succeeded" for line in lines)
    whole = tmp_path / "whole.jsonl"
    caravan("results", "@last", "--with", "parts,prompt", "-o", str(whole), env=environment)
    parts = [line for line in read(whole) if "#part-" in str(line["custom_id"])]
    assert len(parts) > 2
    assert [line["metadata"]["part"]["number"] for line in parts] == list(range(1, len(parts) + 1))  # type: ignore[index]
    assert len(read(whole)) == len(parts) + 2


def test_what_contradicts_itself_is_refused_before_any_host_is_asked(
    environment: Environment, inbox: Path, tmp_path: Path
) -> None:
    def told(*arguments: str) -> str:
        done = caravan(*arguments, env=environment, check=False)
        assert done.returncode == 2
        return done.stderr

    assert "--documents needs a prompt" in told("run", "--documents", f"{inbox}/*", "--model", "m")
    assert "no document matches" in told(
        "run", "--documents", f"{inbox}/*.odt", "--prompt", "{{ document.text }}", "--model", "m"
    )
    assert "document" in told("run", "--documents", f"{inbox}/*", "--prompt", "{{ title }}", "--model", "m")
    assert "does not use the answers" in told(
        *["submit", "--documents", f"{inbox}/*", "--prompt", "{{ document.text }}", "--model", "m"],
        *["--long", "split", "--combine", str(tmp_path / "sum.j2")],
    )


def test_documents_are_submitted_for_whoever_serves(
    environment: Environment, inbox: Path, tmp_path: Path
) -> None:
    done = caravan(
        *[
            "submit",
            "--documents",
            f"{inbox}/*.md",
            "--template",
            str(tmp_path / "sum.j2"),
            "--model",
            MODELS[0],
        ],
        "--json",
        env=environment,
    )

    assert json.loads(done.stdout)["total"] == 1


def test_the_example_is_answered_and_its_scan_is_told(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    command = next(
        block.text.split()
        for block in blocks(DOCS / "howto/documents.md", "")
        if block.text.startswith("caravan run --documents 'examples/")
    )
    shown = [word.strip("'") for word in command[1:]]
    shown[shown.index("--model") + 1] = MODELS[0]
    shown[shown.index("-o") + 1] = str(tmp_path / "answers.jsonl")
    shown[shown.index("--documents") + 1] = str(ROOT / "examples" / "nightly" / "inbox" / "**")
    shown[shown.index("--template") + 1] = str(ROOT / "examples" / "nightly" / "summary.j2")

    done = caravan(*shown, "--host", hosts[0].url, env=environment, check=False)

    assert done.returncode == 3, done.stderr
    lines = read(tmp_path / "answers.jsonl")
    assert [line["custom_id"] for line in lines] == [
        *("gettysburg.html", "ozymandias.pdf", "proverbs.csv#2", "proverbs.csv#3"),
        *("zh/ailian.docx", "zh/guanque.txt", "zh/taohuayuan.md"),
    ]
    assert all(line["state"] == "succeeded" for line in lines)
    [scan] = read(tmp_path / "answers.rejects.jsonl")
    assert (Path(str(scan["path"])).name, scan["code"], scan["pages"]) == ("scan.pdf", "no_text", [1])
