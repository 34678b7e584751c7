#!/bin/sh
# usage: until_breach.sh PROGRAM: run an agent with a known fault until the harness catches it, with other cuts each time.
# Keys and signatures are new in each run, and a torn copy passes for a whole one only with some of them.
for seed in 1 2 3 4 5 6 7 8 9 10; do
	"$1" --pairs 800 --seed "$seed" || exit 0
done
exit 1
