//! The one integration binary: real programs, real sockets, foreign judges.
