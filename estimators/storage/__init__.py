"""All access to files, in a local path or in a bucket (`gs://bucket/…`; to read, others too), behind a few functions.

files.py         the functions, which pick where a path lies
local_files.py   paths of this machine, by the standard library
bucket.py        gs://, by Google's client; the objects of a bucket as files
arrow_files.py   s3:// and others, by Arrow, to be read and no more
name_patterns.py patterns where there is a list of names alone
bucket_client.py that client, its time limits, and its errors as OSErrors
hidden_partials.py  names of what is being written
access.py        whether what flags name in a bucket can be reached, before anything begins

TensorFlow reads data and checkpoints, and writes checkpoints, by its own file system; docs/storage.md says what lies
where and what is promised there.
"""

from estimators.storage.files import (
    Ready,
    absolute,
    append_line,
    create_text,
    delete,
    delete_partials_of,
    exists,
    glob,
    has_failed,
    identity,
    is_dir,
    is_inside,
    is_remote,
    list_dir,
    make_dirs,
    matching_folders,
    modified_ns,
    names_below,
    nearest_names,
    nothing_more,
    open_binary,
    publish_folder,
    read_text,
    rename,
    replace_text,
    size,
    write_text,
    written_whole,
)
from estimators.storage.hidden_partials import hidden_partial, is_hidden_partial
from estimators.storage.name_patterns import patterns_in

__all__ = [
    "Ready",
    "absolute",
    "append_line",
    "create_text",
    "delete",
    "delete_partials_of",
    "exists",
    "glob",
    "has_failed",
    "hidden_partial",
    "identity",
    "is_dir",
    "is_hidden_partial",
    "is_inside",
    "is_remote",
    "list_dir",
    "make_dirs",
    "matching_folders",
    "modified_ns",
    "names_below",
    "nearest_names",
    "nothing_more",
    "open_binary",
    "patterns_in",
    "publish_folder",
    "read_text",
    "rename",
    "replace_text",
    "size",
    "write_text",
    "written_whole",
]
