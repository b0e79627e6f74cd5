import java.math.BigDecimal;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.JSON;
import org.openapitools.client.api.FeedbackApi;
import org.openapitools.client.api.InferenceApi;
import org.openapitools.client.model.FeedbackItem;
import org.openapitools.client.model.FeedbackRequest;
import org.openapitools.client.model.Label;
import org.openapitools.client.model.PredictReply;
import org.openapitools.client.model.PredictRequest;

/** Predicts two rows, sends the label of the second, and calls a model that does not exist. */
public class Caller {
    public static void main(String[] arguments) throws Exception {
        // By default, Gson leaves out a missing value: the row would lack the feature.
        JSON.setGson(JSON.getGson().newBuilder().serializeNulls().create());
        ApiClient client = new ApiClient().setBasePath(arguments[0]);
        InferenceApi inference = new InferenceApi(client);
        List<Object> rows = Arrays.asList(row(3.0, "red"), row(null, "blue"));
        PredictRequest request = new PredictRequest().model("tiny").rows(rows);
        PredictReply reply = inference.postPredict(request, null, null);
        System.out.println("version " + reply.getVersion());
        reply.getPredictions().forEach(
            prediction -> System.out.println(
                "label " + prediction.getLabel().getActualInstance()
                    + " of " + prediction.getProbabilities().keySet()));
        FeedbackItem label = new FeedbackItem()
            .predictionId(reply.getPredictionId())
            .row(1)
            .label(new Label(BigDecimal.ONE));
        System.out.println(
            "accepted " + new FeedbackApi(client).postV1Feedback(new FeedbackRequest(label)).getAccepted());
        try {
            inference.postPredict(new PredictRequest().model("absent").rows(rows), null, null);
        } catch (ApiException error) {
            System.out.println("refused " + error.getCode());
        }
    }

    private static Map<String, Object> row(Double price, String colour) {
        Map<String, Object> row = new HashMap<>();
        row.put("price", price);
        row.put("colour", colour);
        return row;
    }
}
