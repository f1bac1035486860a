package simulation

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func TestDebug(t *testing.T) {
	want := os.Getenv("CASE")
	if want == "" {
		t.Skip()
	}
	for _, r := range table() {
		for _, c := range r.cases() {
			if c.name(r.number) == want {
				v := &verdict{result: c.scenario.play(t)}
				c.check(v)
				n := map[int]int{}
				per := map[int]int{}
				for _, k := range v.calls {
					if k.refused {
						n[int(k.key)]++
						per[int(k.at/time.Second)]++
					}
				}
				for s := 0; s < int(c.length/time.Second); s++ {
					fmt.Print(per[s], " ")
				}
				fmt.Println()
				for k, x := range n {
					if x > 1 && len(n) < 400 {
						fmt.Print("key ", k, ": ")
						for _, c := range v.calls {
							if int(c.key) == k {
								fmt.Print(c.at.Round(time.Millisecond), " ", c.refused, "; ")
							}
						}
						fmt.Println()
					}
				}
				fmt.Println(v.measured, v.wrong)
			}
		}
	}
}
