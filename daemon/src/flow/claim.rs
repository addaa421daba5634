//! Claiming: a backlog's rows are handed to the dispatcher, as many as it has room for.
