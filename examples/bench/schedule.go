package main

import "math/rand/v2"

// schedule returns in which order n subjects are driven in each of so many rounds.
// Every round has each of them once. Orders are random, and every second round is the
// one before it backwards, so that a machine that slowly gets faster or slower treats
// all alike.
func schedule(n, rounds int, random *rand.Rand) [][]int {
	orders := make([][]int, 0, rounds)
	for len(orders) < rounds {
		order := random.Perm(n)
		orders = append(orders, order)
		if len(orders) < rounds {
			orders = append(orders, reversed(order))
		}
	}
	return orders
}

func reversed(order []int) []int {
	backwards := make([]int, len(order))
	for i, subject := range order {
		backwards[len(order)-1-i] = subject
	}
	return backwards
}
