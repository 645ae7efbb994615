"""Files and processes: atomic writing, untrusted files, progress."""
