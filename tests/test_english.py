"""Documents, docstrings, comments, messages and help are plain technical English."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

import gdopt
from gdopt.cli import main

PACKAGE = Path(gdopt.__file__).parent
ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    ".github/CONTRIBUTING.md",
    "CHANGELOG.md",
    "README.md",
    "bench/README.md",
    "docker/README.md",
    *(f"gdopt/guide/{page.name}" for page in sorted((PACKAGE / "guide").glob("*.md"))),
)
COMMANDS = ("", "bench", "ewa", "info", "plan", "train", "tune")
# What native technical writers do not write, each with a phrase that it finds.
PATTERNS = {
    r"(?<!there )\b(is|are) no (?!longer\b|more\b)[a-z]": "names are no list",
    r"(?<!there )\b(is|are) (?-i:none)\b": "a form that is none",
    r"\A(Give|Tell)\b": "Give the bytes of an array.",
    r"[;,] (and )?(give|tell) (its|a|what|how|both)\b": "Call it; give its loss.",
    r"\bgo(es)? on\b": "goes on where it was broken off",
    r"\bbr(oken|oke) (it )?off\b": "what broke it off",
    r"\bin force\b": "the default in force",
    r"\bat hand\b": "the batch at hand",
    r"\bnow and then\b": "a line now and then",
    r"\b(course|torch|scikit-learn) has it\b": "as the course has it",
    r"\bnothing at all\b": "nothing at all when predicting",
    r"\bso many\b": "the bytes for so many examples",
    r"\b(let|lets) be\b": "names without a use are let be",
    r"\balike\b": "two arrays that are laid out alike",
    r"\btold\b": "what CuPy is told of them",
    r"\bin (turns|its turn|their turn)\b": "timed in turns",
    r"\bbeside\b": "its state beside the parameters",
    r"\bdoes so\b": "rounding does so with bfloat16",
    r"\bone's own\b": "a rule of one's own",
    r"\b(a|its|their) kind of (its|their) own\b": "of a kind of its own",
    r"\banew\b": "measured anew",
    r"\b(somebody|nobody)\b": "nobody but root",
    r"\bput(s|ting)? back\b": "everything is put back",
    r"\bput to the test\b": "claims are put to the test",
    r"\bdeserves a look\b": "1e-5 deserves a look",
    r"\b(come|comes|came) to rest\b": "before it comes to rest",
    r"\bno use\b|\bof use alone\b": "what has no use",
    r"\bhas to do with\b": "what has to do with it",
}
COMPILED = [
    re.compile(pattern.replace(" ", r"\s"), 0 if r"\A" in pattern else re.IGNORECASE)
    for pattern in PATTERNS
]


def hits(name, texts):
    """Find the patterns in texts, with the lines that they begin in."""
    found = []
    for first, text in texts:
        flat = re.sub(r"[ \t]*\n[ \t]*", "\n", text)
        for pattern in COMPILED:
            for match in pattern.finditer(flat):
                line = first + flat.count("\n", 0, match.start())
                near = flat[max(0, match.start() - 40) : match.end() + 40]
                found.append(f"{name}:{line}: {' '.join(near.split())}")
    return found


def comments(source):
    """Join the comments of lines that follow each other."""
    blocks = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, text = token.start[0], token.string.lstrip("#: ")
            if blocks and line == blocks[-1][0] + len(blocks[-1]) - 1:
                blocks[-1].append(text)
            else:
                blocks.append([line, text])
    return [(first, "\n".join(texts)) for first, *texts in blocks]


def strings(source):
    """List docstrings and strings; in f-strings an x stands for every value."""
    inner = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            inner.update(map(id, node.values))
            parts = [getattr(part, "value", "x") for part in node.values]
            texts = [part if isinstance(part, str) else "x" for part in parts]
            yield node.lineno, "".join(texts)
        elif isinstance(getattr(node, "value", None), str) and id(node) not in inner:
            yield node.lineno, node.value


@pytest.mark.parametrize("phrase", PATTERNS.values())
def test_every_pattern_finds_its_phrase(phrase):
    assert hits("", [(1, phrase)])


def test_usual_sentences_are_not_found():
    usual = "There is no GPU.", "it is no longer", "Returns: none", "turned on", "gives"
    assert not hits("", enumerate(usual))


def test_hits_are_named_by_file_and_line():
    source = '"""Say it.\n\nTwo that are\nalike.\n"""\nx = f"is no {y}"\n# so\n# many\n'
    assert hits("a.py", [*strings(source), *comments(source)]) == [
        "a.py:4: Say it. Two that are alike.",
        "a.py:6: is no x",
        "a.py:7: so many",
    ]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_are_plain_english(name):
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{name} is in a checkout, not in the wheel or an image")
    found = hits(name, [(1, path.read_text(encoding="utf-8"))])
    assert not found, "\n".join(found)


def test_the_library_s_text_is_plain_english():
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        name = path.relative_to(PACKAGE.parent)
        found += hits(name, [*strings(source), *comments(source)])
    assert not found, f"{len(found)} phrases:\n" + "\n".join(found)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_plain_english(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert set(COMMANDS[1:]) <= set(shown.split()) or command
    assert not hits(f"gdopt {command} --help", [(1, shown)])
