//! Rows as aya's maps take them.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A shared key or row. The bounds prove what aya's `Pod` only promises.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Row<T>(pub T);

#[expect(unsafe_code, reason = "aya's marker for plain data has no safe form")]
// SAFETY: no padding (`IntoBytes`), any bytes are a value (`FromBytes`), no interior mutability (`Immutable`).
unsafe impl<T: IntoBytes + FromBytes + Immutable + Copy + 'static> aya::Pod for Row<T> {}
