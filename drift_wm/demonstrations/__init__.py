"""What generators learn from logged demonstrations: policies in closed loop, and a world model of a real robot."""
