"""Mark a symbol version that a shared library needs as weak, so that the dynamic loader takes an older library for it.

A library built with a newer compiler may name a version of libstdc++ that the machine doesn't have, for a symbol that
nothing in the library ever uses. The loader checks the version all the same, and refuses the library. With the weak
flag set it only takes note (the ELF "version needs" section, Elf64_Vernaux.vna_flags, VER_FLG_WEAK).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
SECTION_TABLE = struct.Struct("<Q")  # Elf64_Ehdr.e_shoff
SECTION_TABLE_AT = 0x28
SECTION_COUNT_AT = 0x3C
SECTION = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr
VERSION_NEEDS = 0x6FFFFFFE  # SHT_GNU_verneed
LIBRARY = struct.Struct("<HHIII")  # Elf64_Verneed
VERSION = struct.Struct("<IHHII")  # Elf64_Vernaux
FLAGS_OFFSET = 4
WEAK = 2


def mark_weak(library: Path, version: str) -> bool:
    """Mark one needed symbol version as weak; the file is replaced, never written in place (it may be a hard link).

    Returns:
        Whether the library needs that version.

    Raises:
        ValueError: The file is no 64-bit little-endian ELF file.
    """
    image = bytearray(library.read_bytes())
    if not image.startswith(ELF64_LITTLE_ENDIAN):
        raise ValueError(f"{library} is no 64-bit little-endian ELF file")
    found = [offset for offset, name in needed_versions(image) if name == version]
    for offset in found:
        (flags,) = struct.unpack_from("<H", image, offset + FLAGS_OFFSET)
        struct.pack_into("<H", image, offset + FLAGS_OFFSET, flags | WEAK)
    if found:
        copy = library.with_name(library.name + ".new")
        copy.write_bytes(image)
        copy.chmod(library.stat().st_mode)
        copy.replace(library)
    return bool(found)


def needed_versions(image: bytes | bytearray) -> Iterator[tuple[int, str]]:
    """Each needed version: where its entry lies in the file, and its name."""
    (table,) = SECTION_TABLE.unpack_from(image, SECTION_TABLE_AT)
    (count,) = struct.unpack_from("<H", image, SECTION_COUNT_AT)
    sections = [SECTION.unpack_from(image, table + SECTION.size * index) for index in range(count)]
    for _, kind, _, _, offset, _, strings, libraries, _, _ in sections:
        if kind != VERSION_NEEDS:
            continue
        names, library = sections[strings][4], offset
        for _ in range(libraries):
            _, versions, _, first, following = LIBRARY.unpack_from(image, library)
            entry = library + first
            for _ in range(versions):
                *_, name, step = VERSION.unpack_from(image, entry)
                end = image.index(0, names + name)
                yield entry, bytes(image[names + name : end]).decode()
                entry += step
            library += following


if __name__ == "__main__":
    if not mark_weak(Path(sys.argv[1]), sys.argv[2]):
        sys.exit(f"{sys.argv[1]} doesn't need {sys.argv[2]}")
