//! Lowers the closed value to derivations, each with a digest over all its inputs. No I/O.
