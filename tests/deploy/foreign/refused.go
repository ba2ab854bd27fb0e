// Refused requests and good ones in turn, by one transport of net/http. Prints a line of JSON: go run refused.go BASE TOKEN ROUNDS.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

type refusal struct {
	status                    int
	method, path, token, kind string
	size                      int
	chunked, expects          bool
}

func main() {
	base, good, bad, kind := os.Args[1], os.Args[2], strings.Repeat("x", 40), "application/json"
	rounds, _ := strconv.Atoi(os.Args[3])
	refusals := []refusal{
		{401, "POST", "/v1/messages", bad, kind, 53, false, false},
		{401, "POST", "/v1/messages", bad, kind, 200_000, false, false},
		{401, "POST", "/v1/messages", bad, kind, 53, true, false},
		{401, "POST", "/v1/messages", bad, kind, 200_000, true, false},
		{401, "POST", "/v1/messages", bad, kind, 200_000, false, true},
		{404, "POST", "/v1/nothing", good, kind, 53, false, false},
		{405, "PUT", "/v1/messages", good, kind, 60_000, false, false},
		{413, "POST", "/v1/messages", good, kind, 400_000, false, false},
		{413, "POST", "/v1/messages", good, kind, 400_000, true, false},
		{415, "POST", "/v1/messages", good, "text/plain", 53, false, false},
		{400, "POST", "/v1/messages", good, kind, 53, false, true},
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{ExpectContinueTimeout: time.Second}}
	send := func(method, path string, body io.Reader, set func(*http.Request)) string {
		request, _ := http.NewRequest(method, base+path, body)
		if set != nil {
			set(request)
		}
		response, err := client.Do(request)
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err.Error()
		}
		return strconv.Itoa(response.StatusCode)
	}
	count, failed := 0, []string{}
	for round := 0; round < rounds; round++ {
		for _, each := range refusals {
			count++
			var body io.Reader = strings.NewReader(strings.Repeat("x", each.size))
			if each.chunked {
				// Of unknown length.
				body = io.MultiReader(body)
			}
			status := send(each.method, each.path, body, func(request *http.Request) {
				request.Header.Set("authorization", "Bearer "+each.token)
				request.Header.Set("content-type", each.kind)
				if each.expects {
					request.Header.Set("expect", "100-continue")
				}
			})
			if status != strconv.Itoa(each.status) {
				failed = append(failed, fmt.Sprintf("refused %+v: %s", each, status))
			}
			if next := send("GET", "/healthz", nil, nil); next != "200" {
				failed = append(failed, fmt.Sprintf("good after %+v: %s", each, next))
			}
		}
	}
	out, _ := json.Marshal(map[string]any{"client": "Go net/http", "good": count, "refused": count, "failed": failed})
	fmt.Println(string(out))
}
