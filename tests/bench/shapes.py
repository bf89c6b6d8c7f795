"""Make a CSV file of another shape, most of them from the rows of the standard file.

    python3 shapes.py SHAPE IN OUT

The same file gives the same shape, to the byte.
"""
import csv
import random
import string
import sys

BLOCKS, BLOCK_SIZE = 16, 1 << 20  # a made-up file repeats so many different blocks
MADE_UP_BLOCKS = 288  # which makes it as large as the standard file
KEY, RARITY = "K", 2000  # one row of so many bears the one key
IDS = 1000  # in the survivors' file


def quoted(line_end):
    """Every field in quotes."""

    def write(rows, target):
        writer = csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator=line_end)
        writer.writerows(rows)

    return write


def inch_marks(rows, target):
    """A quote in the middle of a field that isn't quoted, in every row's last field."""
    target.write(",".join(next(rows)) + "\n")
    for row in rows:
        target.write(",".join(row[:-1]) + ',12" nail\n')


def survivors(rows, target):
    """Identifiers 000 to 999, drawn by chance: a list of N of them keeps N in a thousand rows."""
    draw = random.Random(1)
    writer = csv.writer(target, lineterminator="\n")
    header = next(rows)
    column = header.index("idValue")
    writer.writerow(header)
    for row in rows:
        row[column] = f"{draw.randrange(IDS):03d}"
        writer.writerow(row)


def made_up(columns, field):
    """As many columns, the fourth of them idValue, each field drawn by `field`."""

    def row(draw):
        fields = [field(draw) for _ in range(columns)]
        if draw.randrange(RARITY) == 0:
            fields[3] = KEY
        return ",".join(fields) + "\n"

    def block(draw):
        lines, size = [], 0
        while size < BLOCK_SIZE:
            lines.append(row(draw))
            size += len(lines[-1])
        return "".join(lines)

    def write(_, target):
        names = [f"c{number + 1}" for number in range(columns)]
        names[3] = "idValue"
        target.write(",".join(names) + "\n")
        draw = random.Random(1)
        blocks = [block(draw) for _ in range(BLOCKS)]
        for number in range(MADE_UP_BLOCKS):
            target.write(blocks[number % BLOCKS])

    return write


SHAPES = {
    "all_quoted": quoted("\n"),
    "all_quoted_crlf": quoted("\r\n"),
    "columns_200": made_up(200, lambda draw: str(draw.randrange(100000))),
    "bytes_1": made_up(8, lambda draw: draw.choice(string.ascii_lowercase)),
    "inch_marks": inch_marks,
    "survivors": survivors,
}


def main(shape, in_path, out_path):
    with open(in_path, encoding="latin-1", newline="") as source, \
            open(out_path, "w", encoding="latin-1", newline="") as target:
        SHAPES[shape](csv.reader(source), target)


main(*sys.argv[1:])
