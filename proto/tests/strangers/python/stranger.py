"""Reads and writes the golden files with PyPI's protobuf, and as a program that knows only the first two fields.

    stranger.py DESCRIPTORS GOLDEN_FOLDER OUT_FOLDER

What it writes into OUT_FOLDER is for our side to read. It ends with 0 and "N files" if all agreed.
"""

import json
import pathlib
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

NEW = "isotherm.v1."
OLD = "two.fields."


def classes(file_set):
    """The messages as classes, by their short names, for one set of files."""
    pool = descriptor_pool.DescriptorPool()
    for file in file_set.file:
        pool.Add(file)
    found = {}
    for file in file_set.file:
        for message in file.message_type:
            full_name = f"{file.package}.{message.name}"
            found[message.name] = message_factory.GetMessageClass(pool.FindMessageTypeByName(full_name))
    return found


def of_two_fields(file_set):
    """The same files as they were when each message had two fields."""
    old = descriptor_pb2.FileDescriptorSet()
    old.CopyFrom(file_set)
    for file in old.file:
        file.package = OLD.rstrip(".")
        for message in file.message_type:
            kept = [field for field in message.field if field.number <= 2]
            for field in (field for field in kept if field.type_name):
                field.type_name = field.type_name.replace(NEW, OLD)
            del message.field[:]
            message.field.extend(kept)
    return old


def as_json(message):
    """The message in the form of our JSON files: every field there, 64-bit numbers as numbers."""
    def numbers(value):
        if isinstance(value, dict):
            return {k: int(v) if k == "sequence" else numbers(v) for k, v in value.items()}
        return [numbers(each) for each in value] if isinstance(value, list) else value

    text = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return numbers(text)


def main(descriptors, golden, out):
    file_set = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    new, old = classes(file_set), classes(of_two_fields(file_set))
    files = sorted(golden.glob("*.bin"))
    for file in files:
        name = "TemperatureReadingUpload" if file.name.startswith("upload") else "TemperatureReading"
        ours, expected = file.read_bytes(), json.loads(file.with_suffix(".json").read_text())

        read = new[name].FromString(ours)
        assert as_json(read) == expected, f"{file.name}: {as_json(read)}"
        written = json_format.ParseDict(expected, new[name]()).SerializeToString(deterministic=True)
        assert written == ours, f"{file.name}: {written!r}"
        (out / f"new-{file.name}").write_bytes(written)

        # What it does not know, an old program passes on; when it builds a message itself, it is not there.
        read = old[name].FromString(ours)
        assert read.SerializeToString(deterministic=True), file.name
        read.DiscardUnknownFields()
        (out / f"old-{file.name}").write_bytes(read.SerializeToString(deterministic=True))
    print(len(files), "files")


main(*map(pathlib.Path, sys.argv[1:]))
