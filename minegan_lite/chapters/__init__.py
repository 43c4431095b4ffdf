"""What the book's pages use, and no one who only mines: the runner of chapters, the ledger, plots and widgets."""
