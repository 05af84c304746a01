"""Where processes live and what happens when one dies: Ray, the roles of a run, parallel prediction."""
