"""Where bytes come from and go to: whole files, locks, tables, the journal of folders."""
