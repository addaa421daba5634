//! Sweeping: what is kept only for a while goes, the oldest first, in small steps.
