"""What the benchmark found, as text, Markdown and a picture."""
import statistics


def columns(rows, peers):
    """Heads and the function that makes each cell of a row."""
    unit, key = ("queries/s", "qps") if rows[0]["mode"] == "throughput" else ("ms", "ms")
    number = (lambda v: f"{v:.1f}") if key == "qps" else (lambda v: f"{v:.2f}")
    out = [("model", lambda r: r["model"]), (f"planish {unit}", lambda r: number(r[f"planish_{key}"]))]
    if "ratio_qdq" in rows[0]:
        out.append((f"same file {unit}", lambda r: number(r[f"planish_qdq_{key}"])))
    out += [(f"{p} {unit}", lambda r, k=f"{p}_{key}": number(r[k]) if k in r else "failed") for p in peers]
    out.append(("ratio to best peer", lambda r: f"{r['ratio']:.2f}"))
    if "ratio_qdq" in rows[0]:
        out.append(("same file", lambda r: f"{r['ratio_qdq']:.2f}"))
    if "scaling" in rows[0]:
        out.append(("scaling", lambda r: f"{r['scaling']:.2f}"))
    return [*out, ("share of limit", lambda r: f"{r['share']:.2f}"), ("build s", lambda r: f"{r['build_s']:.1f}")]


def table(rows, peers, markdown):
    cells = columns(rows, peers)
    body = [[head for head, _ in cells], *([cell(row) for _, cell in cells] for row in rows)]
    widths = [max(len(line[i]) for line in body) for i in range(len(cells))]
    left, right = ("| ", " |") if markdown else ("", "")
    lines = [left + " | ".join(cell.ljust(w) for cell, w in zip(line, widths)) + right for line in body]
    rule = [left + " | ".join("-" * w for w in widths) + right] if markdown else []
    return "\n".join([lines[0], *rule, *lines[1:]])


def title(precision, mode, rows):
    mean = statistics.geometric_mean(row["ratio"] for row in rows)
    return f"{precision.upper()}, {mode}: geometric mean of the ratio to the better peer {mean:.3f}"


def groups(rows):
    """Rows by precision and mode, in the order in which they were measured."""
    out = {}
    for row in rows:
        out.setdefault((row["precision"], row["mode"]), []).append(row)
    return out


def chart(rows, peers, machine, path):
    """Bars of every model's ratio, one panel for each precision and mode; the format follows the file's name."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    parts = groups(rows)
    longest = max(len(part) for part in parts.values())
    figure, panels = plt.subplots(1, len(parts), figsize=(1.5 + 4.5 * len(parts), 1.6 + 0.32 * longest), squeeze=False,
                                  layout="constrained")
    for panel, ((precision, mode), part) in zip(panels[0], parts.items()):
        names = [row["model"] for row in reversed(part)]
        ratios = [row["ratio"] for row in reversed(part)]
        bars = panel.barh(names, ratios, color=["#2b7a78" if ratio >= 1 else "#c8553d" for ratio in ratios])
        panel.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
        panel.axvline(1, color="#444444", linewidth=0.8)
        panel.set_xlim(0, max([1.1, *ratios]) * 1.12)
        panel.set_title(f"{precision.upper()}, {mode}", fontsize=10)
        panel.tick_params(labelsize=8)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    figure.suptitle(f"Speed relative to the better of {' and '.join(peers)}; {machine['cpu']}, "
                    f"{machine['threads']} threads", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)
