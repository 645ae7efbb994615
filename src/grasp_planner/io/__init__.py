"""Files and processes: atomic writing, files from untrusted sources, worker processes, progress."""
