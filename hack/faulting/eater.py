"""A program that eats memory: as many MiB as each line of its input says, touched. It ends, and gives back, with it."""

import sys

MIB = 2**20

if __name__ == "__main__":
    held = [bytearray(b"\1") * (int(line) * MIB) for line in sys.stdin]
