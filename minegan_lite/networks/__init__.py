"""One file per architecture; a file is readable without the others."""
