//! The text form: typed records that mirror the file.
