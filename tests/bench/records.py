"""Say how the records of a CSV file compare with those of another, however they are quoted.

    python3 records.py RIGHT OTHER

Prints "same", "another order" or "other".
"""
import csv
import sys


def records(path):
    with open(path, encoding="latin-1", newline="") as file:
        return list(csv.reader(file))


def compare(right, other):
    if right == other:
        return "same"
    return "another order" if sorted(right) == sorted(other) else "other"


print(compare(records(sys.argv[1]), records(sys.argv[2])))
