"""Keep the rows of a CSV file whose idValue stands in a list: what one would write in Python.

    python3 filter.py LIST IN OUT

Byte for byte, like the filter that it is compared with: csv.reader finds the records, and the lines
that it took for a record are what is written. Latin-1 gives each byte a character and back.
"""
import csv
import sys


class Lines:
    """The lines of a file, remembered until asked for."""

    def __init__(self, file):
        self.file = file
        self.taken = []

    def __iter__(self):
        for line in self.file:
            self.taken.append(line)
            yield line

    def take(self):
        text = "".join(self.taken)
        self.taken.clear()
        return text


def main(list_path, in_path, out_path):
    with open(list_path, encoding="latin-1", newline="\n") as file:
        keys = {line.rstrip("\n") for line in file}
    with open(in_path, encoding="latin-1", newline="\n") as source, \
            open(out_path, "w", encoding="latin-1", newline="") as target:
        lines = Lines(source)
        rows = csv.reader(lines)
        column = [name.lower() for name in next(rows)].index("idvalue")
        target.write(lines.take())
        for row in rows:
            text = lines.take()
            if row and row[column] in keys:
                target.write(text)


main(*sys.argv[1:])
