//! A row per rule, in files by family, as the table has them.

mod arithmetic;
