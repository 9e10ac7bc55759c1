"""A study's document as text: for a terminal, a spreadsheet, a page of notes and a paper."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import Any

from portgnn.text import inert, printable

NAMES = ("dataset", "model", "preset", "backend", "device", "dtype")
ALWAYS = ("dataset", "model")
MIB = 2**20
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {letter: f"\\{letter}" for letter in "&%$#_{}"}

Table = tuple[list[str], list[list[str]]]


def varying(data: dict[str, Any]) -> list[str]:
    """The names that tell rows apart: a preset alone where a model has several."""
    found = []
    for name in NAMES:
        values = {(row["model"] if name == "preset" else "", row[name]) for row in data["rows"]}
        several = len(values) > (len({row["model"] for row in data["rows"]}) if name == "preset" else 1)
        if name in ALWAYS or several:
            found.append(name)
    return found


def label(row: dict[str, Any], data: dict[str, object], without: Sequence[str] = ()) -> str:
    """A row in few words."""
    words = [str(row[name]) for name in varying(data) if name not in without]
    if data["each"]:
        words += [f"{name}={value}" for name, value in row["values"].items()]
    return " ".join(words)


def main(data: dict[str, Any]) -> Table:
    """The rows, as people read them."""
    names = varying(data)
    tried = any(row["values"] for row in data["rows"])
    metrics = {row["metric_words"] for row in data["rows"]}
    score = f"test {next(iter(metrics))}" if len(metrics) == 1 and None not in metrics else "test score"
    heads = [*names, *(["setting" if data["each"] else "chosen"] if tried else []), score, "95 % interval", "n"]
    heads += ["epochs", "s/run", "ms/epoch", "peak MiB"]
    body = []
    for row in data["rows"]:
        said = " ".join(f"{name}={value}" for name, value in row["values"].items())
        words = [str(row[name]) for name in names] + ([said or "-"] if tried else [])
        if len(metrics) > 1 and row["summary"]:
            words.append(f"{row['metric_words']} {figure(row)}")
        else:
            words.append(figure(row))
        failed = f" ({row['failed']} diverged)" if row["failed"] else ""
        words += [
            interval(row),
            f"{len(row['runs'])}{failed}",
            _number(row["epochs"], "g"),
            _number(row["seconds"], ".3g"),
        ]
        words += [_number(row["ms"], ".3g"), "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / MIB:.0f}"]
        body.append(words)
    return heads, body


def tests(row: dict[str, Any]) -> list[float]:
    """The test scores of a row's runs."""
    return [run["test"] for run in row["runs"] if run["test"] is not None]


def figure(row: dict[str, Any], sign: str = "±") -> str:
    """Mean and standard deviation: as many decimals as two digits of the deviation take."""
    found = row["summary"]
    if not found:
        return "-"
    if found["std"] is None:
        return f"{found['mean']:.4f}"
    digits = decimals(found["std"])
    return f"{found['mean']:.{digits}f} {sign} {found['std']:.{digits}f}"


def decimals(deviation: float) -> int:
    if deviation <= 0:
        return 4
    return min(max(1 - math.floor(math.log10(deviation)), 0), 6)


def interval(row: dict[str, Any]) -> str:
    found = row["summary"]
    if not found or found["low"] is None:
        return "-"
    digits = decimals(found["std"] or 0.0)
    return f"{found['low']:.{digits}f} to {found['high']:.{digits}f}"


def differences(data: dict[str, Any]) -> Table:
    """The comparisons, as people read them."""
    heads = ["dataset", "row", "against", "difference", "95 % interval", "pairs", "p", "p, Holm"]
    body = []
    for each in data["comparisons"]:
        first, second = data["rows"][each["first"]], data["rows"][each["second"]]
        low = "-" if each["low"] is None else f"{each['low']:+.4f} to {each['high']:+.4f}"
        names = [label(row, data, ("dataset",)) for row in (second, first)]
        words = [first["dataset"], *names, f"{each['difference']:+.4f}", low, str(each["units"])]
        body.append([*words, probability(each["p"]), probability(each["p_holm"])])
    return heads, body


def probability(p: float | None) -> str:
    if p is None:
        return "-"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def notes(data: dict[str, Any], of_means: bool = False) -> list[str]:
    """What a reader must know of the numbers. of_means: of the means alone, where neither tests nor times are shown."""
    found = [_units(data)]
    chosen = [row for row in data["rows"] if len(row["candidates"]) > 1]
    if chosen:
        by = sorted({row["select_words"] for row in chosen if row["select_words"]})
        count = sorted({len(row["candidates"]) for row in chosen})
        many = str(count[0]) if len(count) == 1 else f"{count[0]} to {count[-1]}"
        found.append(
            f"Each row's setting is the one of {many} with the best mean {' or '.join(by)}; the test decided nothing."
        )
    if data["comparisons"] and not of_means:
        tested = sum(each["p"] is not None for each in data["comparisons"])
        found.append(
            f"p: Wilcoxon's signed-rank test of pairs with the same {_unit(data)}, two-sided; corrected for {tested} "
            f"comparison{'' if tested == 1 else 's'} by Holm's method."
        )
    failed = sum(row["failed"] for row in data["rows"])
    if failed:
        found.append(f"{failed} of the runs diverged and are in no mean.")
    if not of_means:
        found.append("Times are medians, memory the largest, of runs as they were trained beside each other.")
    return found


def _unit(data: dict[str, Any]) -> str:
    several = any(len(splits) > 1 for splits in data["splits"].values())
    return "split" if several else "seed"


def _units(data: dict[str, Any]) -> str:
    seeds = len(data["seeds"])
    if _unit(data) == "seed":
        said = f"Mean ± standard deviation of {seeds} run{'' if seeds == 1 else 's'}, one a seed"
        return f"{said}; the interval is Student's, of the mean over seeds."
    counts = sorted({len(splits) for splits in data["splits"].values()})
    many = " or ".join(map(str, counts))
    return (
        f"Mean ± standard deviation over {many} splits and {seeds} seed{'' if seeds == 1 else 's'} each; the interval "
        "is Student's, of the means of the splits."
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def as_text(data: dict[str, object]) -> str:
    """Columns one below the other."""
    parts = [_aligned(*main(data))]
    if data["comparisons"]:
        parts.append(_aligned(*differences(data)))
    return "\n\n".join([*parts, "\n".join(notes(data))])


def _aligned(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [[printable(word) for word in line] for line in (heads, *body)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def as_markdown(data: dict[str, object]) -> str:
    parts = [_piped(*main(data))]
    if data["comparisons"]:
        parts.append(_piped(*differences(data)))
    return "\n\n".join([*parts, *notes(data)]) + "\n"


def _piped(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [[printable(word).replace("|", "\\|") for word in line] for line in (heads, *body)]
    lines.insert(1, ["---"] * len(heads))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_csv(data: dict[str, Any]) -> str:
    """A line a row, with every name and number."""
    tried = list(dict.fromkeys(name for row in data["rows"] for name in row["values"]))
    heads = [*NAMES, *tried, "metric", "mean", "std", "low", "high", "n", "units", "diverged", "candidates", "epochs",
             "seconds", "ms_per_epoch", "peak_bytes"]  # fmt: skip
    lines = []
    for row in data["rows"]:
        found = row["summary"] or {}
        line = [*(row[name] for name in NAMES), *(row["values"].get(name) for name in tried), row["metric"]]
        line += [found.get(name) for name in ("mean", "std", "low", "high")]
        line += [len(row["runs"]), found.get("units"), row["failed"], len(row["candidates"])]
        line += [row[name] for name in ("epochs", "seconds", "ms", "peak_bytes")]
        lines.append(line)
    return _separated(heads, lines)


def runs_csv(data: dict[str, Any]) -> str:
    """A line for every run of the table."""
    fields = ("seed", "split", "test", "validation", "epochs", "best_epoch", "seconds", "ms", "peak_bytes", "key")
    lines = [
        [*(row[name] for name in NAMES), " ".join(f"{name}={value}" for name, value in row["values"].items()),
         row["metric"], *(run[name] for name in fields)]
        for row in data["rows"] for run in row["runs"]
    ]  # fmt: skip
    return _separated([*NAMES, "setting", "metric", *fields], lines)


def _separated(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(inert, heads))
    writer.writerows([inert(cell) if isinstance(cell, str) else cell for cell in line] for line in lines)
    return text.getvalue()


def as_latex(data: dict[str, Any]) -> str:
    """A table of models by datasets for a paper, with booktabs; the best mean of a column is bold."""
    datasets = list(dict.fromkeys(row["dataset"] for row in data["rows"]))
    labels = list(dict.fromkeys(label(row, data, ("dataset",)) for row in data["rows"]))
    cells = {(label(row, data, ("dataset",)), row["dataset"]): row for row in data["rows"]}
    best = {name: _best([row for row in data["rows"] if row["dataset"] == name]) for name in datasets}
    lines = []
    for name in labels:
        words = [latex(name)]
        for dataset in datasets:
            row = cells.get((name, dataset))
            words.append("--" if row is None else _cell(row, row is best[dataset]))
        lines.append(f"    {' & '.join(words)} \\\\")
    metrics = list(dict.fromkeys(row["metric_words"] for row in data["rows"] if row["metric_words"]))
    caption = latex(f"Test {' and '.join(metrics)}. {' '.join(notes(data, of_means=True))}") + " Bold: the best mean."
    return "\n".join(
        [
            "% \\usepackage{booktabs}",
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{caption}}}",
            f"  \\begin{{tabular}}{{l{'c' * len(datasets)}}}",
            "    \\toprule",
            f"    model & {' & '.join(map(latex, datasets))} \\\\",
            "    \\midrule",
            *lines,
            "    \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
            "",
        ]
    )


def _best(rows: Sequence[dict[str, Any]]) -> dict[str, object] | None:
    scored = [row for row in rows if row["summary"]]
    if len(scored) < 2 or len({row["metric"] for row in scored}) > 1:
        return None
    return max(scored, key=lambda row: row["summary"]["mean"] * (1 if row["higher_is_better"] else -1))


def _cell(row: dict[str, object], best: bool) -> str:
    if not row["summary"]:
        return "--"
    text = figure(row, "\\pm").replace("-", "{-}")
    return f"$\\mathbf{{{text}}}$" if best else f"${text}$"


def latex(text: str) -> str:
    """Text with what LaTeX would obey escaped."""
    escaped = re.sub(r"[\\~^&%$#_{}]", lambda found: _LATEX[found[0]], printable(text))
    return escaped.replace("±", "$\\pm$")
