//! Rules of the board, each by example.
