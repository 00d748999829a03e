//! Percent-encoding as property bags and tokens use it.
