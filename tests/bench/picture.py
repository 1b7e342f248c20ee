"""A picture in one line of SVG: two lines over the number of volumes, both axes logarithmic."""
import math

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 80, 150, 60, 70
OURS, PEER = "#1a6fb5", "#c2571a"


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{more}>{words}</text>'


def rule(x1, y1, x2, y2):
    return f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#ddd"/>'


def latency(points):
    """points: (number of volumes, ours, LVM's), in milliseconds."""
    def scale(values, low, high):
        first, last = math.log10(values[0]), math.log10(values[1])
        return lambda value: low + (math.log10(value) - first) / (last - first) * (high - low)

    every = [ms for _, *both in points for ms in both]
    decades = [10 ** k for k in range(math.floor(math.log10(min(every))), math.ceil(math.log10(max(every))) + 1)]
    x = scale((points[0][0], points[-1][0]), LEFT, WIDTH - RIGHT)
    y = scale((decades[0], decades[-1]), HEIGHT - BOTTOM, TOP)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           text(LEFT, 30, "Create + mount of an ext4 volume of 10 GiB", "start", ' font-size="17"')]
    for ms in decades:
        out += [rule(LEFT, y(ms), WIDTH - RIGHT, y(ms)), text(LEFT - 8, y(ms) + 4, f"{ms:g} ms", "end")]
    for n, *_ in points:
        out += [rule(x(n), TOP, x(n), HEIGHT - BOTTOM), text(x(n), HEIGHT - BOTTOM + 20, n)]
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 20, "volumes that exist already"))
    for k, (name, colour) in enumerate((("quarry", OURS), ("LVM: lvcreate,", PEER))):
        line = [(x(point[0]), y(point[k + 1])) for point in points]
        out.append('<polyline fill="none" stroke-width="2" stroke="%s" points="%s"/>'
                   % (colour, " ".join(f"{a:.1f},{b:.1f}" for a, b in line)))
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{colour}"/>'
                + text(a, b - 10, f"{point[k + 1]:.0f}", more=f' fill="{colour}"') for (a, b), point in zip(line, points)]
        out.append(text(line[-1][0] + 14, line[-1][1] + 4, name, "start", f' fill="{colour}"'))
        if k:
            out.append(text(line[-1][0] + 14, line[-1][1] + 20, "mkfs.ext4, mount", "start", f' fill="{colour}"'))
    return "".join(out) + "</svg>"
