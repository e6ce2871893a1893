// Command answer tells who asks over HTTP the name of the pod it runs in, for tests.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	name, err := os.Hostname()
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
	panic(http.ListenAndServe(":8080", nil))
}
