"""How fast it is: decisions of every kind of model on one machine in one run, beside the machine's own limit."""
