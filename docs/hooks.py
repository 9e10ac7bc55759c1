"""What the site's build adds to the pages: figures out of bench/results, and the files that pages link to.

A page names a figure by a comment, `<!-- made: NAME -->`; the build puts the table after it. Nothing is typed by hand.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]

from bench.harness.rows import disturbed, ratio, where  # noqa: E402
from bench.studies import array_api, seeds  # noqa: E402
from bench.studies.article_compat import PUBLISHED  # noqa: E402
from bench.studies.verify_matrix import table as verify_table  # noqa: E402
from bench.table import markdown  # noqa: E402
from portgnn.report.documents import number, timed_groups  # noqa: E402

NOTEBOOKS = {"examples/article.ipynb": "explanations/article-notebook.md"} | {
    f"examples/gallery/{path.name}": f"gallery/{path.stem}.md"
    for path in sorted((ROOT / "examples" / "gallery").glob("*.ipynb"))
}
"""The pages that notebooks are made into."""
MADE = re.compile(r"^<!-- made: ([a-z0-9-]+) -->$", re.MULTILINE)
LINK = re.compile(r"(?<=\]\()(?!https?:|data:|#)([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """A page for each notebook, and one for each file of the repository that a page links to."""
    for source, made in NOTEBOOKS.items():
        files.append(File.generated(config, made, content=notebook(ROOT / source)))
    for file in list(files.documentation_pages()):
        for target in _outside(file.src_uri, file.content_string):
            uri = f"source/{target}.md"
            if files.get_file_from_path(uri) is None:
                text = f"---\nsearch: {{exclude: true}}\n---\n\n# {target}\n\n``````{_language(target)}\n"
                files.append(File.generated(config, uri, content=f"{text}{(ROOT / target).read_text()}\n``````\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Figures in place of their marks; links that leave docs/ go to the pages of `on_files`."""
    here = PurePosixPath(page.file.src_uri).parent

    def linked(found: re.Match[str]) -> str:
        target = _repository_path(page.file.src_uri, found.group(1))
        if target is None:
            return found.group(1)
        return os.path.relpath(_own_page(target) or f"source/{target}.md", here)

    def made(found: re.Match[str]) -> str:
        if found.group(1) not in FIGURES:
            raise PluginError(f"{page.file.src_uri}: no figure is called {found.group(1)}")
        return FIGURES[found.group(1)]()

    if page.file.src_uri.startswith("source/"):
        return markdown
    return LINK.sub(linked, MADE.sub(made, _included(markdown)))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """The theme's search is a dialog without a name, which a screen reader would not tell."""
    dialog = 'data-md-component="search" role="dialog"'
    return output.replace(dialog, f'{dialog} aria-label="Search"')


def _included(markdown: str) -> str:
    """Files of the repository's root that are pages here, too: their links are seen from the root."""
    found = re.fullmatch(r"<!-- whole: (\S+) -->\n*", markdown)
    if found is None:
        return markdown
    return LINK.sub(
        lambda link: os.path.relpath(link.group(1), "docs").replace(os.sep, "/"), (ROOT / found.group(1)).read_text()
    )


def _outside(src_uri: str, markdown: str) -> set[str]:
    found = {_repository_path(src_uri, link) for link in LINK.findall(_included(markdown))}
    return {path for path in found if path is not None and _own_page(path) is None}


def _repository_path(src_uri: str, link: str) -> str | None:
    """The file of the repository that a page's link names, if it stands outside docs/."""
    path = Path(os.path.normpath(ROOT / "docs" / PurePosixPath(src_uri).parent / link))
    if not path.is_file() or not path.is_relative_to(ROOT) or path.is_relative_to(ROOT / "docs"):
        return None
    return path.relative_to(ROOT).as_posix()


def _own_page(path: str) -> str | None:
    own = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "README.md": "index.md"}
    return (own | NOTEBOOKS).get(path)


def _language(path: str) -> str:
    return {".py": "python", ".toml": "toml", ".md": "markdown", ".json": "json", ".yml": "yaml"}.get(
        Path(path).suffix, "text"
    )


def notebook(path: Path) -> str:
    """A notebook as a page: its text, its code, and the outputs that are kept in it."""
    parts: list[str] = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"``````python\n{source}\n``````")
        printed = "".join("".join(o["text"]) for o in cell["outputs"] if o["output_type"] == "stream")
        parts += [f"``````text\n{printed.rstrip()}\n``````"] if printed else []
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                image = "".join(output["data"]["image/png"]).replace("\n", "")
                parts.append(f"![{cell['metadata']['alt']}](data:image/png;base64,{image})")
            elif "text/html" in output.get("data", {}):
                parts.append("".join(output["data"]["text/html"]).replace("\n", " "))
    return "\n\n".join(parts) + "\n"


def public_names() -> str:
    """What `from portgnn import …` offers: functions first, then classes."""
    import portgnn

    return "\n\n".join(
        f"::: portgnn.{name}"
        for name in sorted(set(portgnn.__all__) - {"PortgnnError"}, key=lambda name: (name[0].isupper(), name))
    )


def networks() -> str:
    """Every network with what it is, its hyperparameters and its recipes."""
    from portgnn.presets import models

    lines = ["| model | what it is | paper | hyperparameters and their defaults | recipes |", "|---|---|---|---|---|"]
    for each in models():
        own = ", ".join(f"`{name}` {value}" for name, value in each.hyperparameters.items())
        recipes = ", ".join(f"`{name}`" for name in each.presets)
        lines.append(f"| `{each.name}` | {each.about} | {each.paper} | {own} | {recipes} |")
    return "\n".join(lines)


def optimizers() -> str:
    """The largest differences of each optimizer, schedule and clip: between backends, and from torch.optim."""
    document = json.loads((RESULTS / "optimizers.json").read_text())
    lines = ["| optimizer | losses beside NumPy's | parameters beside `torch.optim` |", "|---|---:|---:|"]
    for row in document["rows"]:
        apart = (max(row[key].values()) for key in ("curves", "beside_torch"))
        lines.append(f"| {row['row']} | {' | '.join(f'{each:.1e}' for each in apart)} |")
    kills = document["kill_and_resume"]
    options = " ".join(kills["options"])
    said = (
        f"{kills['kills']} times killed at random moments and resumed, a run on {kills['dataset'].capitalize()} with "
    )
    return "\n".join(
        [*lines, "", f"{said}`{options}` ended {kills['largest_difference']:g} apart from an undisturbed one."]
    )


def links() -> str:
    """Cora's links beside the published, over seeds; how far backends are apart; and runs that were killed."""
    document = json.loads((RESULTS / "links.json").read_text())
    rows, published = document["accuracy"]["rows"], document["accuracy"]["published"]
    lines = ["| Cora | ROC-AUC | average precision | seeds |", "|---|---:|---:|---:|"]
    for preset, negatives, split in dict.fromkeys((row["preset"], row["negatives"], row["split"]) for row in rows):
        found = [row for row in rows if (row["preset"], row["negatives"], row["split"]) == (preset, negatives, split)]
        values = [[100 * row[name] for row in found] for name in published]
        cells = " | ".join(f"{statistics.mean(each):.1f} ± {statistics.stdev(each):.1f}" for each in values)
        splits = "each its own split" if split < 0 else f"the split of `--link-seed {split}`"
        lines.append(f"| `{preset}`, `--negatives {negatives}` | {cells} | {len(found)}, {splits} |")
    lines.append(f"| Kipf & Welling 2016, table 2 | {' | '.join(map(str, published.values()))} | 10, one split |")
    apart = max(max(row["curves"].values()) for row in document["curves"])
    backends = ", ".join(dict.fromkeys(row["backend"] for row in document["curves"]))
    kills = document["kills"]
    same = "the same to the bit" if kills["same_parameters"] and kills["same_curves"] else "NOT the same"
    said = (
        f"Curves of {document['curves'][0]['epochs']} epochs in float64 are within {apart:.1e} of NumPy's on "
        f"{backends}, with dot product and MLP. A run that was killed {kills['kills']} times and went on from its file "
        f"ended with parameters, curves and scores that are {same}."
    )
    return "\n".join([*lines, "", said])


def pyg_layers() -> str:
    """The largest difference from each of PyG's layers over all graphs and seeds."""
    document = json.loads((RESULTS / "pyg-layers.json").read_text())
    largest: dict[str, float] = {}
    for key, row in document["rows"].items():
        errors = [each for of in row.values() if isinstance(of, dict) for each in of.values()]
        layer = key.partition(" / ")[0]
        largest[layer] = max(largest.get(layer, 0.0), *errors) if errors else largest.get(layer, 0.0)
    lines = ["| PyG's layer | largest relative difference, values and gradients |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {layer} | {error:.1e} |" for layer, error in largest.items())])


def support_matrix() -> str:
    return verify_table(RESULTS / "verify")


def many_seeds() -> str:
    """How far whole trainings depart, float32 and float64."""
    document = json.loads(seeds.RESULTS.read_text())
    return "\n\n".join(seeds.table(document, dtype) for dtype in ("float32", "float64"))


def tf32() -> str:
    """The checks that failed with TF32 left on, beside the same backend's with it off."""
    lines = ["| backend | check | error with TF32 | error without | tolerance |", "|---|---|---:|---:|---:|"]
    gpus: set[str] = set()
    for path in sorted((RESULTS / "verify").glob("*-tf32.json")):
        on = json.loads(path.read_text())
        off = json.loads(path.with_name(path.name.replace("-tf32", "")).read_text())
        without = {check["name"]: check["max_error"] for check in off["checks"]}
        gpus.add(_gpu(on))
        for check in on["checks"]:
            if not check["passed"] and check["max_error"] is not None:
                lines.append(
                    f"| `{on['backend']}` | `{check['name']}` | {check['max_error']:.1e} "
                    f"| {without[check['name']]:.1e} | {check['tolerance']:.0e} |"
                )
    return "\n".join([f"On {' and '.join(sorted(gpus))}:", "", *lines])


def _gpu(report: dict[str, Any]) -> str:
    environment = report["environment"]
    named = [facts["gpu"] for facts in environment.values() if isinstance(facts, dict) and "gpu" in facts]
    return next((name for name in named if isinstance(name, str)), environment.get("accelerator", report["device"]))


def benchmarks() -> str:
    """Every table of a comparison in bench/results."""
    return "\n".join(f"{markdown([run]).replace('### ', '### ' + name + ': ', 1)}" for name, run in _runs(None))


def article_rows() -> str:
    """The article's dense code beside portgnn, timed in one run: a table a file."""
    parts: list[str] = []
    for name, run in _runs(None):
        for rows in timed_groups(run).values():
            ours = [row for row in rows if row["kind"] != "peer"]
            dense = [row for row in rows if row["contender"].startswith("article")]
            if rows[0]["recipe"] != "pyg" or not dense:
                continue
            lines = [f"`{name}`: {where(run)}{disturbed(rows)}", ""]
            lines += ["| program | device | ms/epoch | × the article's |", "|---|---|---:|---:|"]
            for row in sorted([*ours, *dense], key=lambda row: row["train_ms"]["median"]):
                title = row["title"] + (", all rows" if row in ours and row["options"].get("rows") == "all" else "")
                beside = [other for other in dense if other["contender"].endswith(row["contender"])]
                times = number(ratio(row, beside[0])) if row in ours and beside else "–"
                lines.append(f"| {title} | {row['device']} | {number(row['train_ms']['median'])} | {times} |")
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def article_published() -> str:
    return "\n".join(
        ["| machine | ms/epoch, as published |", "|---|---|", *(f"| {name} | {ms} |" for name, ms in PUBLISHED)]
    )


def article_flaws() -> str:
    """What each flaw costs, where a run of `--article-compat` is among the results."""
    runs = [run for _, run in _runs("article-compat")]
    return markdown(runs) if runs else "No run of it is among the results in `bench/results` yet."


def _runs(kind: str | None) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted(RESULTS.glob("*.json")):
        document = json.loads(path.read_text())
        if isinstance(document, dict) and document.get("format") == "portgnn-bench" and document.get("kind") == kind:
            found.append((path.name, document))
    return found


FIGURES: dict[str, Callable[[], str]] = {
    "optimizers": optimizers,
    "array-api": array_api.passed,
    "array-api-gaps": array_api.gaps,
    "article-flaws": article_flaws,
    "article-published": article_published,
    "article-rows": article_rows,
    "benchmarks": benchmarks,
    "links": links,
    "many-seeds": many_seeds,
    "networks": networks,
    "public-names": public_names,
    "pyg-layers": pyg_layers,
    "support-matrix": support_matrix,
    "tf32": tf32,
}


class DefinitionLists(griffe.Extension):
    """Docstrings describe arguments as `name: text`, one a line; the site shows each on a line of its own."""

    NAMED = re.compile(r"^((?:[a-z_]\w*)(?:, [a-z_]\w*)*): ")
    SUBSCRIPTS = re.compile(r"(?<![`\w])(\w+\[\w+\]\[\w+\])")  # Markdown would take [p][q] for a link

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is None:
            return
        lines: list[str] = []
        listed = False
        for line in self.SUBSCRIPTS.sub(r"`\1`", obj.docstring.value).splitlines():
            named = self.NAMED.match(line)
            if named:
                lines += [] if listed else [""]
                listed = True
                names = ", ".join(f"`{name}`" for name in named.group(1).split(", "))
                line = f"- {names}: {line[named.end() :]}"
            elif listed and not line.startswith(" "):
                listed = False
                lines += [""] if line else []
            lines.append(line)
        obj.docstring.value = "\n".join(lines)
