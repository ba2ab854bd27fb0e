// A reader of an event stream by hand, line by line, cut off once and then resuming: go run streams.go BASE TOKEN LAST < CUTS.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

func read(base, token string, last, cut int) []int {
	told, position := []int{}, ""
	for try := 0; try < 5; try++ {
		request, _ := http.NewRequest("GET", fmt.Sprintf("%s/go/%d", base, cut), nil)
		request.Header.Set("authorization", "Bearer "+token)
		if position != "" {
			request.Header.Set("last-event-id", position)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			continue
		}
		fields := map[string]string{}
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ":")
			if name != "" || value != "" {
				fields[name] = strings.TrimPrefix(value, " ")
				continue
			}
			if fields["id"] != "" {
				position = fields["id"]
			}
			var event struct{ Sequence int }
			if json.Unmarshal([]byte(fields["data"]), &event) == nil && event.Sequence > 0 {
				told = append(told, event.Sequence)
			}
			fields = map[string]string{}
			if event.Sequence == last {
				response.Body.Close()
				return told
			}
		}
		response.Body.Close()
	}
	return told
}

func main() {
	last, _ := strconv.Atoi(os.Args[3])
	var cuts []int
	if err := json.NewDecoder(os.Stdin).Decode(&cuts); err != nil {
		panic(err)
	}
	told, lock, room, all := map[string][]int{}, sync.Mutex{}, make(chan struct{}, 40), sync.WaitGroup{}
	for _, cut := range cuts {
		all.Add(1)
		room <- struct{}{}
		go func(cut int) {
			defer all.Done()
			found := read(os.Args[1], os.Args[2], last, cut)
			lock.Lock()
			told[strconv.Itoa(cut)] = found
			lock.Unlock()
			<-room
		}(cut)
	}
	all.Wait()
	out, _ := json.Marshal(map[string]any{"reader": "Go", "told": told})
	fmt.Println(string(out))
}
