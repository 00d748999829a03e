//! Lists of short texts in one piece of memory: lengths as variable-sized integers, then the bytes.
