"""How pixels are passed over: threads, vector instructions, buffers, filters by strips."""
