//! The public listener: requests become calls, replies become responses.
