# Manual pages are written by hand (mdoc); make check lints them.
