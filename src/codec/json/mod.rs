//! JSON, one object a line.
