// extender is drover-extender's /filter as one would write it in Go: net/http, the official wire types, and client-go
// informers of hosts, heartbeat Leases, virtual machines and their pods.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"k8s.io/client-go/tools/clientcmd"
)

const maxBody = 16 << 20

type server struct {
	facts *facts
}

func (s *server) filter(w http.ResponseWriter, r *http.Request) {
	var args extenderv1.ExtenderArgs
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&args); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if args.Pod == nil {
		http.Error(w, "Pod is missing", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(s.judge(&args)); err != nil {
		log.Print(err)
	}
}

func (s *server) judge(args *extenderv1.ExtenderArgs) *extenderv1.ExtenderFilterResult {
	result := &extenderv1.ExtenderFilterResult{
		FailedNodes:                extenderv1.FailedNodesMap{},
		FailedAndUnresolvableNodes: extenderv1.FailedNodesMap{},
	}
	want, err := s.facts.demand(args.Pod)
	if err != nil {
		result.Error = err.Error()
		return result
	}
	fits := func(node string) bool {
		message, unresolvable := s.facts.refuses(node, want)
		if message == "" {
			return true
		}
		if unresolvable {
			result.FailedAndUnresolvableNodes[node] = message
		} else {
			result.FailedNodes[node] = message
		}
		return false
	}
	switch {
	case args.NodeNames != nil:
		names := make([]string, 0, len(*args.NodeNames))
		for _, name := range *args.NodeNames {
			if fits(name) {
				names = append(names, name)
			}
		}
		result.NodeNames = &names
	case args.Nodes != nil:
		result.Nodes = &corev1.NodeList{Items: make([]corev1.Node, 0, len(args.Nodes.Items))}
		for i := range args.Nodes.Items {
			if fits(args.Nodes.Items[i].Name) {
				result.Nodes.Items = append(result.Nodes.Items, args.Nodes.Items[i])
			}
		}
	default:
		result.Error = "neither NodeNames nor Nodes"
	}
	return result
}

func run() error {
	address := flag.String("address", "127.0.0.1:9444", "listen on this address")
	cert := flag.String("cert", "", "serving certificate")
	key := flag.String("key", "", "its key")
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	silent := flag.Duration("silent", 20*time.Second, "a host not heard from for longer is not chosen")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	facts, err := newFacts(ctx, config, *silent)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /filter", (&server{facts}).filter)
	https := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		https.Close()
	}()
	if err := https.ServeTLS(listener, *cert, *key); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "extender:", err)
		os.Exit(1)
	}
}
